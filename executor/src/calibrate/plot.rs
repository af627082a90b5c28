//! A profile as a picture: speed against slots, and memory against slots × context.

use std::fmt::Write as _;

use caravan_proto::v1::{MemoryFit, Profile};

use super::table::number;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
/// Where a chart's plane lies in its half of the picture.
const PLANE: Plane = Plane { left: 78.0, top: 56.0, width: 350.0, height: 280.0 };
const TICKS: u32 = 4;

/// An area to draw in.
#[derive(Debug, Clone, Copy)]
struct Plane {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// One chart: points, which a line may join, and a line of its own.
#[derive(Debug, Default)]
struct Chart {
    title: String,
    x: &'static str,
    y: &'static str,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    name: String,
    colour: &'static str,
    points: Vec<(f64, f64)>,
    /// Marked ones among them.
    marks: Vec<(f64, f64, String)>,
    /// Joined by a line; otherwise its points stand alone.
    joined: bool,
}

/// `profile` as an SVG document. What was not measured leaves its half empty but for a word.
#[must_use]
pub fn svg(profile: &Profile) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let on = if profile.gpu.is_empty() { &profile.host } else { &profile.gpu };
    label(&mut svg, WIDTH / 2.0, 22.0, "middle", &format!("{} on {on}", profile.model));
    speed(profile).draw(&mut svg, PLANE);
    let memory = profile
        .memory
        .as_ref()
        .map(memory)
        .unwrap_or_else(|| Chart { title: "Memory was not measured".to_owned(), ..Chart::default() });
    memory.draw(&mut svg, Plane { left: PLANE.left + WIDTH / 2.0, ..PLANE });
    svg.push_str("</svg>\n");
    svg
}

fn speed(profile: &Profile) -> Chart {
    if profile.speeds.is_empty() {
        return Chart { title: "Speed was not measured".to_owned(), ..Chart::default() };
    }
    let series = |name: &str, colour, of: fn(&caravan_proto::v1::SpeedPoint) -> f64| Series {
        name: name.to_owned(),
        colour,
        points: profile.speeds.iter().map(|point| (f64::from(point.slots), of(point))).collect(),
        marks: Vec::new(),
        joined: true,
    };
    let mut together = series("answers, all lanes", "#1f77b4", |point| point.throughput);
    let knees = profile.speeds.iter().filter(|point| point.knee);
    together.marks =
        knees.map(|point| (f64::from(point.slots), point.throughput, "knee".to_owned())).collect();
    let lane = series("decode, a lane", "#ff7f0e", |point| point.decode_tokens_per_second);
    Chart {
        title: "Speed against slots".to_owned(),
        x: "slots busy",
        y: "tokens/s",
        series: vec![together, lane],
    }
}

fn memory(fit: &MemoryFit) -> Chart {
    const GIB: f64 = (1_u64 << 30) as f64;
    let tokens = |point: &caravan_proto::v1::MemoryPoint| f64::from(point.slots) * point.context as f64;
    let read = fit.points.iter().filter(|point| point.bytes > 0);
    let points: Vec<_> = read.clone().map(|point| (tokens(point), point.bytes as f64 / GIB)).collect();
    let mut fitted: Vec<_> =
        fit.points.iter().map(|point| (tokens(point), point.fitted_bytes / GIB)).collect();
    fitted.sort_by(|one, other| one.0.total_cmp(&other.0));
    let refused = read.filter(|point| !point.refused.is_empty());
    let marks =
        refused.map(|point| (tokens(point), point.bytes as f64 / GIB, "refused".to_owned())).collect();
    let measured = Series { name: "measured".into(), colour: "#2ca02c", points, marks, joined: false };
    let line =
        Series { name: "line".into(), colour: "#7f7f7f", points: fitted, marks: Vec::new(), joined: true };
    Chart {
        title: "Memory against slots × context".to_owned(),
        x: "slots × context, tokens",
        y: "GiB",
        series: vec![line, measured],
    }
}

// === impl Chart ===

impl Chart {
    fn draw(&self, svg: &mut String, plane: Plane) {
        label(svg, plane.left + plane.width / 2.0, plane.top - 14.0, "middle", &self.title);
        let all = || self.series.iter().flat_map(|series| series.points.iter());
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).filter(|v| v.is_finite()).fold(0.0, f64::max);
        let (right, top) = (round_up(most(|point| point.0)), round_up(most(|point| point.1)));
        if right <= 0.0 || top <= 0.0 {
            return;
        }
        self.axes(svg, plane, right, top);
        let at = |x: f64, y: f64| {
            (plane.left + plane.width * x / right, plane.top + plane.height * (1.0 - y / top))
        };
        for (place, series) in self.series.iter().enumerate() {
            series.draw(svg, &at);
            let (x, y) = (plane.left + 120.0 * place as f64, plane.top + plane.height + 58.0);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/>",
                y - 9.0,
                series.colour
            );
            label(svg, x + 14.0, y, "start", &series.name);
        }
    }

    fn axes(&self, svg: &mut String, plane: Plane, right: f64, top: f64) {
        let Plane { left, top: upper, width, height } = plane;
        for tick in 0..=TICKS {
            let share = f64::from(tick) / f64::from(TICKS);
            let (x, y) = (left + width * share, upper + height * (1.0 - share));
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{:.1}M{x:.1} {:.1}v4\" stroke=\"#ccc\" fill=\"none\"/>",
                left + width,
                upper + height
            );
            label(svg, left - 6.0, y + 4.0, "end", &figure(top * share));
            label(svg, x, upper + height + 18.0, "middle", &figure(right * share));
        }
        label(svg, left + width / 2.0, upper + height + 36.0, "middle", self.x);
        label(svg, left - 6.0, upper - 8.0, "end", self.y);
    }
}

// === impl Series ===

impl Series {
    fn draw(&self, svg: &mut String, at: &impl Fn(f64, f64) -> (f64, f64)) {
        let points =
            || self.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()).map(|(x, y)| at(*x, *y));
        if self.joined {
            let path: Vec<_> = points().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
                path.join(" "),
                self.colour
            );
        }
        let radius = if self.joined { 3 } else { 4 };
        for (x, y) in points() {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>",
                self.colour
            );
        }
        for (x, y, word) in &self.marks {
            let (x, y) = at(*x, *y);
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"none\" stroke=\"#d62728\" stroke-width=\"2\"/>"
            );
            label(svg, x, y - 12.0, "middle", word);
        }
    }
}

/// The next of 1, 2, 2.5, 4, 5, 8 times a power of ten: its quarters read well.
fn round_up(most: f64) -> f64 {
    if most.is_nan() || most <= 0.0 {
        return 0.0;
    }
    let power = 10.0_f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|bound| *bound >= most)
        .unwrap_or(most)
}

fn figure(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { number(value.round() as i64) } else { format!("{value:.2}") }
}

fn label(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::{MemoryPoint, SpeedPoint};

    use super::*;

    #[test]
    fn a_picture_shows_points_line_and_knee() {
        let point = |slots, throughput, knee| SpeedPoint { slots, throughput, knee, ..Default::default() };
        let load = |context, bytes, refused: &str| MemoryPoint {
            slots: 2,
            context,
            bytes,
            fitted_bytes: bytes as f64,
            refused: refused.into(),
            ..Default::default()
        };
        let points = vec![load(2_048, 1 << 30, ""), load(4_096, 3 << 29, "a <part> is on the CPU")];
        let profile = Profile {
            model: "a & b".into(),
            speeds: vec![point(1, 60.0, false), point(2, 100.0, true)],
            memory: Some(MemoryFit { points, ..Default::default() }),
            ..Default::default()
        };
        let svg = svg(&profile);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains(">knee<") && svg.contains(">refused<") && svg.contains("a &amp; b"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_said() {
        let svg = svg(&Profile::default());
        assert!(svg.contains("Speed was not measured") && svg.contains("Memory was not measured"));
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.0, 0.7, 1.0, 3.1, 68.0, 950.0].map(round_up), [0.0, 0.8, 1.0, 4.0, 80.0, 1_000.0]);
    }
}
