package nodegroup

import (
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// chosen returns those of some node groups that Cluster Autoscaler would choose by priorities: the ones with the
// highest priority among all that match.
func chosen(t *testing.T, priorities string, groups ...string) (best []string) {
	t.Helper()
	var read map[int][]string
	if err := yaml.Unmarshal([]byte(priorities), &read); err != nil {
		t.Fatal(err)
	}
	highest := -1
	for _, group := range groups {
		own := -1
		for priority, patterns := range read {
			for _, pattern := range patterns {
				if regexp.MustCompile(pattern).MatchString(group) {
					own = max(own, priority)
				}
			}
		}
		switch {
		case own > highest:
			highest, best = own, []string{group}
		case own == highest && own >= 0:
			best = append(best, group)
		}
	}
	return best
}

func TestClusterAutoscalerWouldChooseTheCleanestNodeGroup(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	w.look()
	for name, tt := range map[string]struct{ can, want []string }{
		"any":             {[]string{"south-1", "gpu", "north-1", "north-2"}, []string{"north-1", "north-2"}},
		"not the first":   {[]string{"gpu", "south-1"}, []string{"south-1"}},
		"none of ours":    {[]string{"gpu", "other"}, []string{"gpu", "other"}},
		"one by its part": {[]string{"gpu", "the-north-"}, []string{"gpu", "the-north-"}},
	} {
		if diff := cmp.Diff(tt.want, chosen(t, w.priorities(), tt.can...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTheReasonTellsWhenAnotherOrderIsExpected(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	now := w.clock.Now()
	expect := func(location string, intensities ...float64) {
		w.change(location, func(l *plan.Level) {
			var slots []forecast.Slot
			for i, intensity := range intensities {
				start := now.Add(time.Duration(i) * time.Hour)
				slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity})
			}
			l.Expected, l.Intensity, l.IsKnown = forecast.NewSeries(slots), intensities[0], true
		})
	}
	expect("north", 100, 200, 299, 320, 500)
	expect("south", 300, 300, 300, 318, 300) // 318 is not better than 320 by 2 %
	w.look()
	note := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]
	if got := plan.NextTold(note, now); !got.Equal(now.Add(4 * time.Hour)) {
		t.Errorf("expected at %v, by the reason %q", got, note)
	}
}

func TestALongReasonKeepsTheTime(t *testing.T) {
	w := newWorld(t, prioritiesMap(namespace, owners, nil))
	now := w.clock.Now()
	w.groups[0].Groups = nil
	for i := range 64 {
		name := string(rune('A'+i%26)) + "-location-with-a-long-name-" + string(rune('a'+i/26))
		w.groups[0].Groups = append(w.groups[0].Groups, policy.NodeGroup{Pattern: name, Location: name, Power: 1})
		w.change(name, func(l *plan.Level) {
			slots := []forecast.Slot{{Start: now, End: now.Add(time.Hour), Intensity: float64(100 + 10*i)}, {Start: now.Add(time.Hour), End: now.Add(2 * time.Hour), Intensity: float64(1000 - 10*i)}}
			l.Expected, l.Intensity, l.IsKnown = forecast.NewSeries(slots), float64(100+10*i), true
		})
	}
	w.look()
	note := w.get().GetAnnotations()[v1alpha1.ReasonAnnotation]
	if got := plan.NextTold(note, now); !got.Equal(now.Add(time.Hour)) || len(note) > 1100 {
		t.Errorf("expected at %v, by a reason of %d bytes: %q", got, len(note), note)
	}
}
