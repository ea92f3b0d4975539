package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAlternatives(t *testing.T) {
	series := hourly(400, 300, 200, 300, 400, 250, 240, 400, 100, 400, 220, 400, 150)
	for name, tt := range map[string]struct {
		task   Task
		chosen float64
		limit  int
		want   []Alternative
	}{
		"the cleanest of the others come in order of time": {
			Task{Duration: time.Hour, LatestStart: at(11)}, 8, 2,
			[]Alternative{{at(2), 200}, {at(10), 220}},
		},
		"more are given if more are asked for": {
			Task{Duration: time.Hour, LatestStart: at(11)}, 8, 9,
			[]Alternative{{at(2), 200}, {at(6), 240}, {at(10), 220}},
		},
		"what is near the chosen start is no alternative": {
			Task{Duration: time.Hour, LatestStart: at(11)}, 2.5, 9,
			[]Alternative{{at(6), 240}, {at(8), 100}, {at(10), 220}},
		},
		"long runs are apart by their duration": {
			Task{Duration: 3 * time.Hour, LatestStart: at(10)}, 11, 9,
			[]Alternative{{at(1), (300 + 200 + 300) / 3.0}, {at(8), (100 + 400 + 220) / 3.0}},
		},
		"a start within a slot can be one": {
			Task{Duration: 90 * time.Minute, LatestStart: at(7)}, 0, 9,
			[]Alternative{{at(2), (200 + 150) / 1.5}, {at(5.5), (125 + 240) / 1.5}},
		},
		"nothing after the latest start is one": {
			Task{Duration: time.Hour, LatestStart: at(5)}, 0, 9,
			[]Alternative{{at(2), 200}},
		},
		"there is none without time to wait": {Task{Duration: time.Hour, LatestStart: at(-1)}, 0, 9, []Alternative{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPlanner("A", series, "", Terms{}, at(0), at(24))
			if diff := cmp.Diff(tt.want, p.Alternatives(tt.task, at(tt.chosen), tt.limit)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithoutAForecastThereAreNoAlternatives(t *testing.T) {
	p := NewPlanner("A", nil, "it is gone", Terms{}, at(0), at(24))
	if got := p.Alternatives(Task{Duration: time.Hour, LatestStart: at(9)}, at(0), 9); len(got) > 0 {
		t.Errorf("%v", got)
	}
}
