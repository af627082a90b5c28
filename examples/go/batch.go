// Uploads a small batch, watches it over a connection that breaks, and reads each result once:
//
//	examples/go/batch MODEL
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"

	v1 "caravan.example/caravanv1"
)

const (
	requests   = 40
	chunkBytes = 1 << 20
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: batch MODEL")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, model string) error {
	connection, err := connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	files, batches := v1.NewFileServiceClient(connection), v1.NewBatchServiceClient(connection)

	data, err := input(model)
	if err != nil {
		return err
	}
	file, err := upload(ctx, files, data)
	if err != nil {
		return err
	}
	// The same request_id again gives the same batch: a lost answer costs nothing.
	wanted := &v1.CreateBatchRequest{Batch: &v1.Batch{InputFile: file.Name}, RequestId: rand.Text()}
	batch, err := patiently(func() (*v1.Batch, error) { return batches.CreateBatch(ctx, wanted) })
	if err != nil {
		return err
	}
	if err := watch(ctx, batches, batch.Name); err != nil {
		return err
	}
	answers, err := answers(ctx, batches, batch.Name)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d answers, each once\n", batch.Name, answers)
	return nil
}

func input(model string) ([]byte, error) {
	type object = map[string]any
	var lines []byte
	for number := range requests {
		messages := []object{
			{"role": "system", "content": "You answer in one word."},
			{"role": "user", "content": fmt.Sprintf("Text %d", number)},
		}
		body := object{"model": model, "messages": messages, "max_tokens": 8}
		id := fmt.Sprintf("r-%d", number)
		line, err := json.Marshal(object{"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body})
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, line...), '\n')
	}
	return lines, nil
}

// upload uploads data; it goes on where an interrupted try stood.
func upload(ctx context.Context, files v1.FileServiceClient, data []byte) (*v1.File, error) {
	id := rand.Text()
	return patiently(func() (*v1.File, error) {
		stored, err := files.QueryUpload(ctx, &v1.QueryUploadRequest{UploadId: id})
		if info, ok := detail[*errdetails.ErrorInfo](err); ok && info.Reason == "UPLOAD_NOT_FOUND" {
			err = nil
		}
		if err != nil || stored.GetFile() != nil {
			return stored.GetFile(), err
		}
		return send(ctx, files, id, data, stored.GetCommittedBytes())
	})
}

func send(ctx context.Context, files v1.FileServiceClient, id string, data []byte, from int64) (*v1.File, error) {
	stream, err := files.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	start := &v1.UploadStart{UploadId: id, Filename: "example.jsonl"}
	parts := []*v1.UploadFileRequest{{Part: &v1.UploadFileRequest_Start{Start: start}}}
	for offset := from; offset < int64(len(data)); offset += chunkBytes {
		chunk := &v1.UploadChunk{Offset: offset, Data: data[offset:min(offset+chunkBytes, int64(len(data)))]}
		parts = append(parts, &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Chunk{Chunk: chunk}})
	}
	sum := sha256.Sum256(data)
	finish := &v1.UploadFinish{Sha256: hex.EncodeToString(sum[:])}
	parts = append(parts, &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Finish{Finish: finish}})
	for _, part := range parts {
		// io.EOF: the server has answered already, and CloseAndRecv says what.
		if err := stream.Send(part); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return stream.CloseAndRecv()
}

// resumed reads messages up to the final one, which `take` tells. `open` opens the rest of the stream, as often as it
// breaks; this example breaks it itself after the first message.
func resumed[T any](
	ctx context.Context,
	what string,
	open func(context.Context) (grpc.ServerStreamingClient[T], error),
	take func(*T) (final bool, err error),
) error {
	whole := true
	for failures := 0; ; {
		final, err := func() (bool, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			stream, err := open(ctx)
			for err == nil {
				var message *T
				if message, err = stream.Recv(); err != nil {
					break
				}
				failures = 0
				if final, err := take(message); final || err != nil {
					return final, err
				}
				if whole {
					whole = false
					fmt.Println(what + ": broken off, resumed")
					return false, nil
				}
			}
			return false, err
		}()
		if final {
			return nil
		}
		if err != nil {
			failures++
			if err := wait(err, failures); err != nil {
				return err
			}
		}
	}
}

// watch prints how a batch gets on, to its end.
func watch(ctx context.Context, batches v1.BatchServiceClient, name string) error {
	request := &v1.WatchBatchRequest{Name: name}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[v1.WatchBatchResponse], error) {
		return batches.WatchBatch(ctx, request)
	}
	return resumed(ctx, "watch", open, func(message *v1.WatchBatchResponse) (bool, error) {
		request.ResumeToken = message.ResumeToken
		batch := message.GetSnapshot()
		if batch == nil {
			batch = message.GetDelta().GetBatch()
		}
		if counts := batch.GetRequests(); counts != nil {
			fmt.Printf("watch: %d of %d are final\n", counts.Succeeded+counts.Failed, counts.Total)
		}
		return message.Final, nil
	})
}

// answers reads every result of a batch, and counts them.
func answers(ctx context.Context, batches v1.BatchServiceClient, name string) (int, error) {
	request := &v1.StreamResultsRequest{Name: name, Follow: true}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[v1.StreamResultsResponse], error) {
		return batches.StreamResults(ctx, request)
	}
	seen := map[string]bool{}
	err := resumed(ctx, "results", open, func(page *v1.StreamResultsResponse) (bool, error) {
		for _, result := range page.Results {
			if seen[result.CustomId] || !result.Succeeded {
				return false, fmt.Errorf("%s: failed, or came twice", result.CustomId)
			}
			seen[result.CustomId] = true
		}
		request.Cursor = page.Cursor
		return page.Final, nil
	})
	if err == nil && len(seen) != requests {
		err = fmt.Errorf("%d of %d answers came", len(seen), requests)
	}
	return len(seen), err
}
