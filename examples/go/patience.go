package main

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tries is how many calls without progress there are before it gives up.
const tries = 10

// detail gives the detail of this type that an error has.
func detail[T any](err error) (found T, ok bool) {
	for _, each := range status.Convert(err).Details() {
		if found, ok = each.(T); ok {
			return found, true
		}
	}
	return found, false
}

// wait waits for as long as the server asks after failure number `failures` in a row. It gives the error back if
// no waiting helps against it, or it was tried often enough.
func wait(err error, failures int) error {
	code := status.Code(err)
	if (code != codes.Unavailable && code != codes.ResourceExhausted) || failures >= tries {
		return err
	}
	delay := time.Second
	if info, ok := detail[*errdetails.RetryInfo](err); ok {
		delay = info.RetryDelay.AsDuration()
	}
	time.Sleep(delay)
	return nil
}

// patiently gives what call gives, which may need several tries.
func patiently[T any](call func() (T, error)) (T, error) {
	for failures := 1; ; failures++ {
		answer, err := call()
		if err == nil {
			return answer, nil
		}
		if err := wait(err, failures); err != nil {
			return answer, err
		}
	}
}
