package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/gridlatch/gridlatch/gating"
)

const (
	memoryInterval = 5 * time.Second
	// busyCycles is how often the garbage collector runs within the interval while much is done at
	// once.
	busyCycles = 10
)

// freeMemory gives back memory that nothing uses any more. Filling the caches with a hundred thousand
// pods takes more memory than the caches themselves, and so does the work on a thousand objects that
// come at once. Nothing else would free it for minutes.
type freeMemory struct{ records *gating.Records }

// Start frees memory once the caches are filled, and after each time at which much was done at once.
func (t freeMemory) Start(ctx context.Context) error {
	if !toolscache.WaitForCacheSync(ctx.Done(), t.records.Synced) {
		return nil
	}
	debug.FreeOSMemory()
	tick := clock.RealClock{}.NewTicker(memoryInterval)
	defer tick.Stop()
	rush := &rush{cycles: cyclesOfCollector()}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		}
		if rush.isOver(cyclesOfCollector()) {
			debug.FreeOSMemory()
			rush.cycles = cyclesOfCollector()
		}
	}
}

// NeedLeaderElection returns false, because every replica fills its caches.
func (freeMemory) NeedLeaderElection() bool { return false }

// rush is a time at which much is done at once.
type rush struct {
	cycles uint64 // of the garbage collector until the last interval
	isOn   bool
}

// isOver reports, at the end of an interval, whether the rush has ended. Cycles are those until now.
func (r *rush) isOver(cycles uint64) bool {
	wasOn := r.isOn
	r.isOn, r.cycles = cycles-r.cycles >= busyCycles, cycles
	return wasOn && !r.isOn
}

// cyclesOfCollector returns how often the garbage collector has run.
func cyclesOfCollector() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // of a later Go
	}
	return sample[0].Value.Uint64()
}
