package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the program promises of a change of leaders. A candidate looks after at most 2.2 periods. It may
// have seen the last renewal one look late, and may see the end of the lease one look late.
const (
	leaseDuration = 10 * time.Second
	retryPeriod   = 2 * time.Second
	takeover      = leaseDuration + 2*22*retryPeriod/10
)

// latestEver is by how much work may be late in any run, so that a baseline that is far off fails by itself.
const latestEver = time.Minute

// result is what came of one fault.
type result struct {
	fault        string
	began, ended time.Time
	outage       time.Duration // in which nobody could release
	recovery     time.Duration // from the end of the fault until all was well
	releases
	ordinary, tolerant *stream
}

// String says what came of the fault in one line, for the log.
func (r result) String() string {
	return fmt.Sprintf("%s: held %d, lost %d, twice %d, late %v, outage %v, well again after %v, at most %d releases a second; %d ordinary pods, slowest %v; "+
		"%d of %d that asked to wait were not held", r.fault, r.held, r.lost, r.twice, r.late, r.outage, r.recovery, r.mostPerSecond,
		r.ordinary.created, r.ordinary.slowest, r.tolerant.created-r.tolerant.held, r.tolerant.created)
}

// slack is by how much two runs of the same load may differ on a machine that does other things, too.
const slack = 5 * time.Second

// mayBeLateBy returns by how much work may miss its latest start: the outage, a change of leaders, twice
// what the same load needs without a fault, for the wave and for what fell due meanwhile, and the slack.
func (r result) mayBeLateBy(f fault, baseline result) time.Duration {
	late := r.outage + f.resolution + 2*baseline.late + slack
	if f.changesLeader {
		late += takeover
	}
	backlog := float64(r.duringOutage) / float64(max(1, baseline.mostPerSecond))
	return late + time.Duration(2*backlog*float64(time.Second))
}

// expect fails the test if a promise was not kept.
func (r result) expect(t *testing.T, f fault, baseline result) {
	t.Helper()
	if r.lost > 0 {
		t.Errorf("%d of %d pods and Jobs were never released", r.lost, r.held)
	}
	if r.twice > 0 {
		t.Errorf("%d of %d pods and Jobs were released twice", r.twice, r.held)
	}
	if limit := r.mayBeLateBy(f, baseline); r.late > min(limit, latestEver) {
		t.Errorf("the latest start was missed by %v, want %v at most: an outage of %v, and without a fault it is %v", r.late, limit, r.outage, baseline.late)
	}
	for _, err := range r.ordinary.refused {
		t.Errorf("an ordinary pod was refused: %v", err)
	}
	for _, err := range r.tolerant.refused {
		t.Errorf("a pod that asks to wait was refused: %v", err)
	}
	if r.ordinary.held > 0 {
		t.Errorf("%d ordinary pods were held", r.ordinary.held)
	}
	if r.ordinary.created == 0 {
		t.Error("no ordinary pod was created")
	}
}

// table prints the results in Markdown, times as multiples of what they are in the first.
func table(results []result) string {
	var text strings.Builder
	text.WriteString("| fault | held | lost | released twice | latest start missed by | outage | ordinary pods | refused | without an API server | slowest | asked to wait, not held | well again after | releases a second |\n")
	text.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	first := results[0]
	for i, r := range results {
		outage, recovery := "-", "-"
		if r.outage > 0 {
			outage = seconds(r.outage)
		}
		if i > 0 {
			recovery = seconds(r.recovery)
		}
		fmt.Fprintf(&text, "| %s | %d | %d | %d | %s | %s | %d | %d | %d | %s | %d of %d | %s | %s |\n", r.fault, r.held, r.lost, r.twice,
			times(r.late, first.late), outage, r.ordinary.created, len(r.ordinary.refused), r.ordinary.failed, times(r.ordinary.slowest, first.ordinary.slowest),
			r.tolerant.created-r.tolerant.held, r.tolerant.created, recovery, fmt.Sprintf("%.1f x", float64(r.mostPerSecond)/float64(first.mostPerSecond)))
	}
	return text.String()
}

// times writes a time in seconds and as a multiple of another.
func times(d, of time.Duration) string {
	return fmt.Sprintf("%s (%.1f x)", seconds(d), d.Seconds()/of.Seconds())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
