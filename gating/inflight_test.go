package gating

import (
	"fmt"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The watch asks what was released while a pass carries that over: without a
// lock, that ends the program.
func TestReleasesInFlightAreReadDuringAPass(t *testing.T) {
	const released = 1000
	uid := func(i int) types.UID { return types.UID(fmt.Sprint("uid-", i)) }
	var l inFlight
	l.beginPass("default")
	for i := range released {
		l.add("default", uid(i), "X")
	}
	done := l.beginPass("default")
	var watch sync.WaitGroup
	watch.Go(func() {
		for i := range released {
			l.has(uid(i))
		}
	})
	for i := range released {
		if to, ok := done(uid(i)); !ok || to != "X" {
			t.Fatalf("%s was released to %q: %t", uid(i), to, ok)
		}
	}
	watch.Wait()
	for i := range released {
		if !l.has(uid(i)) {
			t.Fatalf("%s is forgotten", uid(i))
		}
	}
	if l.beginPass("default"); l.has(uid(0)) {
		t.Error("what no pass has seen since is not forgotten")
	}
}

// What was refused is tried again beside the passes.
func TestWhatIsDroppedDuringAPassIsNotTakenForDone(t *testing.T) {
	var l inFlight
	l.beginPass("p")
	l.add("p", "u", "")
	done := l.beginPass("p") // a pass begins
	l.drop("p", "u")         // an attempt ends
	if _, is := done("u"); is || l.has("u") {
		t.Error("it would wait for ever")
	}
}

func TestAJobThatIsHeldAgainAfterItsReleaseIsNotTakenForDone(t *testing.T) {
	var l inFlight
	l.beginPass("p")
	job := &metav1.ObjectMeta{UID: "u", Generation: 3}
	l.add("p", releaseID(job), "")
	if _, done := l.beginPass("p")(releaseID(job)); !done {
		t.Error("a cache that is behind has it released twice")
	}
	job.Generation = 5 // resumed, and suspended again
	if _, done := l.beginPass("p")(releaseID(job)); done {
		t.Error("it would wait for ever")
	}
}

func TestReleasesInFlightAreForgottenOnceTheCacheShowsThem(t *testing.T) {
	var l inFlight
	l.beginPass("p")
	l.add("p", "a", "north")
	l.add("p", "b", "")
	turn := func(policy string) func(types.UID) bool {
		f := l.beginPass(policy)
		return func(uid types.UID) bool {
			to, done := f(uid)
			if want := map[bool]string{true: "north"}[done]; to != want {
				t.Errorf("released to %q, want %q", to, want)
			}
			return done
		}
	}
	done := turn("p")
	if !done("a") || done("c") { // b is not asked about: the cache does not have it
		t.Error("want a done, and c not")
	}
	done = turn("p")
	if !done("a") || done("b") {
		t.Error("want a still done, and b forgotten")
	}
	l.drop("p", "a")
	if l.has("a") || turn("p")("a") {
		t.Error("want a dropped")
	}
	if turn("other")("a") {
		t.Error("policies have to be apart")
	}
}
