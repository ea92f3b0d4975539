package forecast

import (
	"math"
	"testing"
	"time"
)

// weeks returns the actual intensities of the eight weeks before t0, in hours, and of some days after.
func weeks(daysAfter int) *Series {
	var slots []Slot
	for h := -retentionHours; h < daysAfter*day; h++ {
		start := startOf(h0.plus(h))
		slots = append(slots, Slot{start, start.Add(time.Hour), 300 + 50*math.Sin(float64(h)/4)})
	}
	return NewSeries(slots)
}

// TestNobodyWaitsWhileAModelLearnsFromDays looks at what readers read: what a model learns from days
// is learned beside it. Learning in place would change it under the lock of the readers.
func TestNobodyWaitsWhileAModelLearnsFromDays(t *testing.T) {
	now := startOf(h0)
	learnedOnce := func() *Model {
		m := &Model{}
		m.ObserveAll(weeks(0), now)
		return m
	}
	encoded, err := learnedOnce().Save()
	if err != nil {
		t.Fatal(err)
	}
	followed := &Model{}
	followed.Receive(withTotals(weeks(2).part(now, now.Add(2*day*time.Hour))), now)
	for name, tt := range map[string]struct {
		model    *Model
		learn    func(m *Model)
		isBeside bool
	}{
		"the first actual intensities":   {&Model{}, func(m *Model) { m.ObserveAll(weeks(0), now) }, true},
		"actual intensities of days":     {learnedOnce(), func(m *Model) { m.ObserveAll(weeks(5), now.Add(5*day*time.Hour)) }, true},
		"actual intensities of an hour":  {learnedOnce(), func(m *Model) { m.ObserveAll(weeks(1), now.Add(time.Hour)) }, false},
		"a forecast after days":          {followed, func(m *Model) { m.Receive(weeks(9), now.Add(5*day*time.Hour)) }, true},
		"a forecast after late actuals":  {learnedOnce(), func(m *Model) { m.Receive(weeks(9), now.Add(5*day*time.Hour)) }, false},
		"a history":                      {&Model{}, func(m *Model) { _ = m.Restore(encoded, now) }, true},
		"a clock that was days ahead":    {learnedOnce(), func(m *Model) { m.rewind(now.Add(-5 * day * time.Hour)) }, true},
		"a clock that was never ahead":   {learnedOnce(), func(m *Model) { m.rewind(now) }, false},
		"an actual intensity after days": {learnedOnce(), func(m *Model) { m.Observe(Slot{now.Add(5 * day * time.Hour), now.Add((5*day + 1) * time.Hour), 300}) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.model.lock()()
			before := tt.model.knowledge
			closed := before.past.closedUntil()
			tt.learn(tt.model)
			if isBeside := tt.model.knowledge != before; isBeside != tt.isBeside || isBeside && before.past.closedUntil() != closed {
				t.Errorf("learned beside what readers read: %t, want %t", isBeside, tt.isBeside)
			}
		})
	}
}

// BenchmarkWaitWhileLearning reports how long a reader waits at most while a model learns from eight weeks.
func BenchmarkWaitWhileLearning(b *testing.B) {
	now := startOf(h0)
	actuals, longest, learned := weeks(0), time.Duration(0), time.Duration(0)
	for b.Loop() {
		m, done, began := &Model{}, make(chan struct{}), time.Now()
		go func() {
			defer close(done)
			m.ObserveAll(actuals, now)
		}()
		for isDone := false; !isDone; {
			select {
			case <-done:
				isDone = true
			default:
				asked := time.Now()
				m.lock()()
				longest = max(longest, time.Since(asked))
			}
		}
		learned += time.Since(began)
	}
	b.ReportMetric(float64(longest.Microseconds()), "longest-wait-µs")
	b.ReportMetric(float64(learned.Microseconds())/float64(b.N), "learning-µs")
}
