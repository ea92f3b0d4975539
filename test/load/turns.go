package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// percentile makes so many turns, one after the other, each of which returns how long something took. It returns the 99th
// percentile in seconds.
func percentile(what string, turns int, turn func(i int) (time.Duration, error)) (float64, error) {
	took := make([]time.Duration, turns)
	for i := range took {
		var err error
		if took[i], err = turn(i); err != nil {
			return 0, fmt.Errorf("%s, turn %d: %w", what, i, err)
		}
		if (i+1)%10 == 0 {
			log.Printf("%s: %d of %d turns, the last one in %s", what, i+1, turns, took[i])
		}
	}
	slices.Sort(took)
	p99 := took[(turns*99+99)/100-1]
	log.Printf("%s: median %s, 99th percentile %s, most %s", what, took[turns/2], p99, took[turns-1])
	return p99.Seconds(), nil
}

// await reads a watch until an object is as wanted.
func await[T any](ctx context.Context, watcher watch.Interface, what string, isWanted func(T) bool) error {
	timeout := time.After(patience)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("not within %s: %s", patience, what)
		case event, open := <-watcher.ResultChan():
			o, ok := event.Object.(T)
			if !open || !ok {
				return fmt.Errorf("the watch has ended: %v", event.Object)
			}
			if event.Type != watch.Deleted && isWanted(o) {
				return nil
			}
		}
	}
}
