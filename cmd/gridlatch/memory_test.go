package main

import (
	"runtime"
	"testing"
)

func TestMemoryIsFreedOnceAfterARush(t *testing.T) {
	r := &rush{cycles: 100}
	for i, step := range []struct {
		cycles uint64
		isOver bool
	}{{101, false}, {140, false}, {190, false}, {191, true}, {192, false}, {210, false}, {211, true}} {
		if got := r.isOver(step.cycles); got != step.isOver {
			t.Errorf("step %d: the rush is over: %t, want %t", i, got, step.isOver)
		}
	}
}

func TestTheCyclesOfTheCollectorAreCounted(t *testing.T) {
	before := cyclesOfCollector()
	runtime.GC()
	if after := cyclesOfCollector(); after <= before {
		t.Errorf("%d cycles, and %d after one more", before, after)
	}
}
