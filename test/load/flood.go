package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/webhook"
)

const (
	floodCallers = 8
	floodFor     = 20 * time.Second
)

// measureFlood has strangers call the webhook all the time, with what takes many times its length if it is decoded,
// while pods are created that are to be held.
func measureFlood(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	before, err := r.controller.Memory("VmHWM")
	if err != nil {
		return nil, err
	}
	log.Printf("memory of the controller before the flood: at most %.1f MiB", before)
	flood, cancel := context.WithTimeout(ctx, floodFor)
	defer cancel()
	answered := make(chan int64, 1)
	go func() { answered <- r.controller.Flood(flood, webhook.Path, floodCallers, env.HostileReviews()) }()
	asked, held := 0, 0
	for flood.Err() == nil {
		if asked++; r.probe(ctx, true) == nil {
			held++
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	log.Printf("%d hostile reviews were answered, and %d of %d pods held meanwhile", <-answered, held, asked)
	if held == 0 {
		return nil, fmt.Errorf("none of %d pods was held", asked)
	}
	peak, err := r.controller.Memory("VmHWM")
	return []float64{peak}, err
}
