package forecast

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What was actual counts before what was forecast, and that before the hours that the model has kept.
func TestThePastIsPutTogetherFromAllThatIsKnown(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
	run := func(from int, values ...float64) *Series {
		var slots []Slot
		for i, v := range values {
			slots = append(slots, Slot{at(from + i), at(from + i + 1), v})
		}
		return NewSeries(slots)
	}
	model := &Model{}
	for hour := range 10 {
		model.Receive(run(hour, 300+float64(hour), 310, 320), at(hour))
	}
	f := Forecast{Series: run(6, 406, 407, 408, 409, 410), Actuals: run(4, 504, 505, 506), Model: model}
	var got []float64
	for hour := range 12 {
		v, _ := f.Before(at(0), at(9)).At(at(hour).Add(30 * time.Minute)) // 0 if it is not known
		got = append(got, v)
	}
	if diff := cmp.Diff([]float64{300, 301, 302, 303, 504, 505, 506, 407, 408, 0, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
	if s := (Forecast{}).Before(at(0), at(9)); !s.IsEmpty() {
		t.Errorf("something is known of nothing: %v", s.Slots())
	}
	if s := f.Before(at(8), at(8)); !s.IsEmpty() {
		t.Errorf("something is known of no time: %v", s.Slots())
	}
}
