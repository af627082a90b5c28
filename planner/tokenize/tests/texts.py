"""Texts to tokenize: the same 2,400 at every run, in 20 scripts, with code, emoji and whitespace."""

import random
import unicodedata

SENTENCES = [
    "The quick brown fox can't jump over 13 lazy dogs; it's 27.5% slower than they'd hoped.",
    "WE'LL SEE WHAT THEY'VE DONE, I'M SURE. don'T, isn't, y'all're, O'Neill's ''quoted'' text...",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň úpěl ďábelské ódy. Árvíztűrő tükörfúrógép!",
    "Der Fluß überquert die Straße; Ärger über ÖPNV-Gebühren von 1.234,56 € im Jahr 2024.",
    "L'été dernier, j'ai été à Orléans : « ça va ? » dit-il. Œuvre, naïveté, aiguë.",
    "Đây là một câu tiếng Việt có nhiều dấu thanh điệu khác nhau, được viết năm 1999.",
    "İstanbul'da ılık bir gün; Iğdır'ın kırmızı elmaları çok güzeldir.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю в 18:45. Їжак, ґава, Ўзбекистон.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Οι Έλληνες αγαπούν τον ήλιο, 3.14 φορές.",
    "שלום עולם! בְּרֵאשִׁית בָּרָא אֱלֹהִים אֵת הַשָּׁמַיִם. מחיר: 45 ש\"ח.",
    "السلام عليكم ورحمة الله وبركاته، كيف حالك اليوم؟ ١٢٣٤٥ كتابًا جديدًا.",
    "یہ اردو کا ایک جملہ ہے جس میں کئی الفاظ ہیں۔ ۱۴۰۲",
    "हिन्दी में एक वाक्य लिखा गया है, जिसमें १२३ शब्द नहीं हैं। क्षत्रिय ज्ञान।",
    "বাংলা ভাষায় একটি বাক্য লেখা হলো, সংখ্যা ৪৫৬ সহ।",
    "தமிழ் மொழியில் ஒரு வாக்கியம் எழுதப்பட்டது, நன்றி.",
    "తెలుగులో ఒక వాక్యం రాయబడింది. ధన్యవాదాలు!",
    "ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ จึงตัดคำได้ยาก ๑๒๓ บาท",
    "ກະລຸນາເວົ້າຊ້າໆ ຂ້ອຍບໍ່ເຂົ້າໃຈ",
    "မြန်မာဘာသာစကားဖြင့် ရေးသားထားသော ဝါကျ။ ភាសាខ្មែរ មានអក្សរច្រើន។",
    "ქართული ენა ერთ-ერთი უძველესია. ᲥᲐᲠᲗᲣᲚᲘ Հայերեն գրություն՝ բարև ձեզ։",
    "አማርኛ በኢትዮጵያ የሚነገር ቋንቋ ነው። ᎠᏂᏴᏫᏯ ᏣᎳᎩ",
    "今天天气很好，我们去公园散步吧！价格是１２３元（约合18.5美元）。龘靐齉爩",
    "吾輩は猫である。名前はまだ無い。カタカナとひらがな、ｶﾀｶﾅ、漢字が混ざった文ー！",
    "안녕하세요? 오늘은 날씨가 정말 좋네요. 한국어 문장 100개를 써 보겠습니다.",
    "བོད་སྐད་ནི་སྐད་ཡིག་ཅིག་ཡིན། ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ ⵜⴰⵎⴰⵣⵉⵖⵜ 𐌲𐌿𐍄𐌹𐍃𐌺 𒀭𒂗𒍪",
    "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 thumbs, 🇩🇪🇫🇷🇯🇵, ❤️‍🔥, 🧑🏿‍🚀, 1️⃣2️⃣, ☺️ ✨🎉🤖",
    "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, ∑_{i=0}^{n} i² ≤ ∫₀^∞ e^{-x²}dx ≈ ½√π; x₁²⁺³ ⅷ Ⅻ ①②③ ½ ¾",
    "ﬁne ﬀ ligatures, ｆｕｌｌｗｉｄｔｈ ＬＥＴＴＥＲＳ, ᴬᴮᶜ, e\u0301 a\u0308 n\u0303 o\u0302\u0323, Å Ω K ſ ß ẞ ŉ",
    "def fib(n: int) -> int:\n    \"\"\"Return F(n).\"\"\"\n    return n if n < 2 else fib(n-1) + fib(n-2)\n\n\n",
    "for (int i = 0; i < (1 << 16); ++i) {\n\t\tprintf(\"%08x\\n\", i ^ 0xDEADBEEF); // TODO\r\n\t}\r\n",
    "SELECT a.id, COUNT(*) AS n FROM t1 a LEFT JOIN t2 b ON a.id=b.id WHERE n>=10 GROUP BY 1;--x",
    "{\"key\": [1, 2.50, -3e-7, null, true], \"nested\": {\"a\\u00e9\": \"\\n\\t\\\\\"}}\n",
    "<div class=\"a b\" style='color:#ff0000'>&nbsp;&lt;p&gt;</div><!-- </s> <s> <unk> <0x0A> -->",
    "https://example.com/path/to?q=a%20b&lang=zh-CN#frag user.name+tag@sub.example.co.uk",
    "$100,000.00 €5 £3 ¥700 ₹250 100°C ±5% 12:34:56 2024-02-29T23:59:59Z +49 (30) 1234567890123",
    "camelCaseWords SCREAMING_SNAKE snake_case_name kebab-case HTTPServer2Go iPhone15Pro v1.2.3-rc4",
    "# Title\n\n* one\n* two\n    1. nested\n\n```rust\nfn main() { println!(\"{}\", 1_000); }\n```\n| a | b |\n|--|--|\n",
    "a\u00a0b\u2003c\u3000d\u200be\u2028f\u0085g\u1680h\ufeffi\u200dj\u00adk\u2060l",
    "▁already▁escaped ▁▁ text ‘single’ “double” – en — em … ‰ † ‡ • ¶ § © ® ™",
]
SPECIALS = [
    "<|endoftext|>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<unk>",
    "<bos>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>", "[CLS]", "[SEP]",
    "[MASK]", "<mask>", "<fim_prefix>", "<pad>", "<think>", "</think>", "<tool_call>", "<|turn>", "<turn|>",
    ">>TITLE<<", "<｜end▁of▁sentence｜>", "<|EOT|>", "<table>", "<unused7>", "<0x0A>", "[UNK]", "<eos>",
]  # fmt: skip
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n", "\n ", "\u00a0", "\u3000", "\t\t", "\u2003", "\v", "\f"]
DIGITS = ["0", "7", "42", "123", "1234", "98765", "3.14", "1,000,000", "٣٤", "२५", "Ⅷ", "²", "５"]


def texts(count: int = 2400, seed: int = 20260101) -> list[str]:
    """Sentences, their cuts and mixtures, and random characters that Unicode 14 assigns."""
    draw = random.Random(seed)
    assigned = [chr(c) for c in range(1, 0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    found = [*SENTENCES, *SPECIALS, *SPACES, *DIGITS, ""]
    found += [unit * length for unit in (" ", "\n", "\t", "a", "1", "=", "🙂", "中", "é", "▁", "\r\n", " \n")
              for length in (2, 3, 4, 7, 8, 15, 16, 31, 33, 64, 200)]  # fmt: skip
    while len(found) < count:
        kind = draw.randrange(7)
        if kind == 0:
            sentence = draw.choice(SENTENCES)
            start = draw.randrange(len(sentence))
            text = sentence[start : start + draw.randint(1, 60)]
        elif kind == 1:
            words = [word for _ in range(4) for word in draw.choice(SENTENCES).split(" ")]
            text = "".join(draw.choice(words) + draw.choice(SPACES) for _ in range(draw.randint(1, 25)))
        elif kind == 2:
            text = "".join(draw.choice(assigned) for _ in range(draw.randint(1, 30)))
        elif kind == 3:
            text = "".join(draw.choice(SPACES + DIGITS + ["x", "Y", "'s", "!", "é"]) for _ in range(draw.randint(1, 25)))
        elif kind == 4:
            parts = [draw.choice(SPECIALS + SPACES + draw.choice(SENTENCES).split(" ")) for _ in range(12)]
            text = "".join(parts)
        elif kind == 5:
            text = draw.choice(SPACES).join(draw.sample(SENTENCES, 3))
        else:
            block = draw.randrange(0, 0x3000, 0x80)
            near = [c for c in assigned if block <= ord(c) < block + 0x80] or ["x"]
            text = "".join(draw.choice(near + [" "]) for _ in range(draw.randint(3, 40)))
        found.append(text)
    return found
