package main

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"
)

const (
	idleObjects = 100
	idleAfter   = 30 * time.Second // for the Events of the beginning, which come five a second
	idleFor     = 3 * time.Minute
)

// measureIdle counts what Gridlatch writes to the API server while nothing changes: the forecast stays as it is, and so
// do the objects, with KEDA at work on them.
func measureIdle(ctx context.Context) ([]float64, error) {
	return withKEDA(ctx, func(ctx context.Context, r *rig) (float64, error) {
		if err := r.createScaled(ctx, idleObjects); err != nil {
			return 0, err
		}
		if err := r.awaitCapped(ctx, idleObjects, ceilingAt(levels-1)); err != nil {
			return 0, err
		}
		if err := pause(ctx, idleAfter); err != nil {
			return 0, err
		}
		log.Printf("counting writes for %s", idleFor)
		writes, err := r.writesWithin(ctx, idleFor)
		return writes * float64(time.Hour/idleFor), err
	}, "--leader-elect=false") // there is no lease to renew, which is no news of anything
}

// writesWithin counts the controller's writes for so long.
func (r *rig) writesWithin(ctx context.Context, during time.Duration) (float64, error) {
	before, err := r.writes(ctx)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, during); err != nil {
		return 0, err
	}
	after, err := r.writes(ctx)
	return after - before, err
}

// writes is how many requests of the controller were to change something, as its own client counts them. The API server
// is asked by a POST what the controller may do, which changes nothing.
func (r *rig) writes(ctx context.Context) (total float64, err error) {
	reviews, err := r.served(ctx, "selfsubjectaccessreviews")
	if err != nil {
		return 0, err
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		n, err := r.controller.Metric(ctx, "rest_client_requests_total", `method="`+method+`"`)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total - reviews, nil
}

// served is how many requests were to change objects of a resource, whoever sent them, as the API server counts them.
func (r *rig) served(ctx context.Context, resource string) (total float64, err error) {
	text, err := r.clientset.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the API server's metrics: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		isWrite := strings.Contains(line, `verb="P`) || strings.Contains(line, `verb="APPLY"`) || strings.Contains(line, `verb="DELETE"`)
		if !isWrite || !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `resource="`+resource+`"`) {
			continue
		}
		n, err := strconv.ParseFloat(last(line), 64)
		if err != nil {
			return 0, fmt.Errorf("read the API server's metrics: %w", err)
		}
		total += n
	}
	return total, nil
}

// last is the last word of a line.
func last(line string) string {
	words := strings.Fields(line)
	return words[len(words)-1]
}
