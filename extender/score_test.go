package extender

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func points(t testing.TB, e *Extender, names ...string) map[string]int64 {
	t.Helper()
	list := answerOf[extenderv1.HostPriorityList](t, post(e.Handler(), PrioritizePath, byName(t, names...)))
	if len(list) != len(names) {
		t.Fatalf("%d nodes were scored, want %d", len(list), len(names))
	}
	got := map[string]int64{}
	for _, p := range list {
		got[p.Host] = p.Score
	}
	return got
}

func TestPoints(t *testing.T) {
	crossing := []Location{grid("a", 100, 500), grid("b", 300, 300), grid("c", 500, 100)}
	nodes := []*metav1.PartialObjectMetadata{
		at("a", "a"), at("b", "b"), at("c", "c"), at("elsewhere", "x"),
		at("efficient", "b", v1alpha1.PowerFactorKey, "0.5"), at("broken", "b", v1alpha1.PowerFactorKey, "half"), at("endless", "b", v1alpha1.PowerFactorKey, "1e999"),
		{ObjectMeta: metav1.ObjectMeta{Name: "labelled", Labels: map[string]string{regionLabel: "b", v1alpha1.PowerFactorKey: "0.5"}}},
	}
	for name, tt := range map[string]struct {
		terms Terms
		names []string
		want  map[string]int64
	}{
		"the cleanest has all points, the dirtiest none": {
			Terms{Locations: crossing, Duration: time.Hour}, []string{"a", "b", "c"}, map[string]int64{"a": 10, "b": 5, "c": 0}},
		"what counts is the mean while it runs": {
			Terms{Locations: []Location{grid("a", 100, 500), grid("b", 250, 250)}, Duration: 2 * time.Hour}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 10}},
		"and only that of the candidates": {
			Terms{Locations: crossing, Duration: time.Hour}, []string{"b", "c"}, map[string]int64{"b": 10, "c": 0}},
		"all alike": {
			Terms{Locations: crossing, Duration: 2 * time.Hour}, []string{"a", "b", "c"}, map[string]int64{"a": 0, "b": 0, "c": 0}},
		"a small difference gives few points": {
			Terms{Locations: []Location{grid("a", 100), grid("b", 97)}, Duration: time.Hour}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 3}},
		"a negligible one none": {
			Terms{Locations: []Location{grid("a", 100), grid("b", 99.9)}, Duration: time.Hour}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 0}},
		"intensities below zero": {
			Terms{Locations: []Location{grid("a", -50), grid("b", 0), grid("c", 50)}, Duration: time.Hour}, []string{"a", "b", "c"}, map[string]int64{"a": 10, "b": 5, "c": 0}},
		"an efficient node below zero": {
			Terms{Locations: []Location{grid("b", -50), grid("c", 0)}, Duration: time.Hour}, []string{"b", "efficient", "c"}, map[string]int64{"b": 5, "efficient": 10, "c": 0}},
		"a forecast of less than half of the duration is none, as for the planner": {
			Terms{Locations: []Location{grid("a", 50), grid("b", 200, 200, 200), grid("c", 300, 300)}, Duration: 3 * time.Hour}, []string{"a", "b", "c"},
			map[string]int64{"a": 0, "b": 10, "c": 0}},
		"an efficient node": {
			Terms{Locations: crossing, Duration: time.Hour}, []string{"b", "efficient", "labelled", "broken", "endless"},
			map[string]int64{"b": 0, "efficient": 10, "labelled": 10, "broken": 0, "endless": 0}},
		"a node of no location is like the dirtiest, as is one that is not known": {
			Terms{Locations: crossing, Duration: time.Hour}, []string{"a", "c", "elsewhere", "new"}, map[string]int64{"a": 10, "c": 0, "elsewhere": 0, "new": 0}},
		"a location without a forecast is like the dirtiest": {
			Terms{Locations: []Location{grid("a", 100), grid("b", 200), grid("c")}, Duration: time.Hour}, []string{"a", "b", "c"}, map[string]int64{"a": 10, "b": 0, "c": 0}},
		"no forecast at all": {
			Terms{Locations: []Location{grid("a"), grid("b")}, Duration: time.Hour}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 0}},
		"no location":        {Terms{}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 0}},
		"no node":            {Terms{Locations: crossing}, nil, map[string]int64{}},
		"no duration is now": {Terms{Locations: crossing}, []string{"a", "c"}, map[string]int64{"a": 10, "c": 0}},
		"meant for a location that is not the cleanest": {
			Terms{Locations: crossing, Duration: time.Hour, Home: "b"}, []string{"a", "b", "c", "efficient"}, map[string]int64{"a": 4, "b": 8, "c": 0, "efficient": 10}},
		"meant for one that has no node to offer": {
			Terms{Locations: crossing, Duration: time.Hour, Home: "b"}, []string{"a", "c"}, map[string]int64{"a": 10, "c": 0}},
		"meant for one that the policy does not have": {
			Terms{Locations: crossing, Duration: time.Hour, Home: "z"}, []string{"a", "c", "elsewhere"}, map[string]int64{"a": 10, "c": 0, "elsewhere": 0}},
		"meant for one without a forecast": {
			Terms{Locations: []Location{grid("a", 100), grid("b")}, Duration: time.Hour, Home: "b"}, []string{"a", "b"}, map[string]int64{"a": 0, "b": 8}},
		"a location without a selector has the rest": {
			Terms{Locations: []Location{{Name: "rest", Expected: grid("", 300).Expected}, grid("a", 100)}, Duration: time.Hour},
			[]string{"a", "b", "elsewhere", "new"}, map[string]int64{"a": 10, "b": 0, "elsewhere": 0, "new": 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, points(t, newExtender(tt.terms, nodes...), tt.names...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	three := []Location{grid("a", 150), grid("b", 190), grid("c", 500)}
	nodes := []*metav1.PartialObjectMetadata{at("a", "a"), at("b", "b"), at("c", "c"), at("elsewhere", "x"), at("efficient", "c", v1alpha1.PowerFactorKey, "0.1")}
	why := "node(s) at grid location c in bucket >300, while a is in <=200"
	for name, tt := range map[string]struct {
		terms   Terms
		names   []string
		kept    []string
		dropped extenderv1.FailedNodesMap
	}{
		"a dirtier bucket is dropped, a dirtier location of the same is not": {
			Terms{Buckets: buckets(t, "200=9,300=5,*=1"), Strict: true}, []string{"c", "a", "b"}, []string{"a", "b"}, extenderv1.FailedNodesMap{"c": why}},
		"not if the cleanest is full": {
			Terms{Buckets: buckets(t, "200=9,300=5,*=1"), Strict: true}, []string{"c"}, []string{"c"}, nil},
		"nor if nobody asks": {
			Terms{Buckets: buckets(t, "200=9,300=5,*=1")}, []string{"a", "c"}, []string{"a", "c"}, nil},
		"what is in no location is kept": {
			Terms{Buckets: buckets(t, "200=9,*=1"), Strict: true}, []string{"elsewhere", "new", "b"}, []string{"elsewhere", "new", "b"}, nil},
		"without buckets none is dirtier": {Terms{Strict: true}, []string{"a", "c"}, []string{"a", "c"}, nil},
		"nor is there in a single one":    {Terms{Buckets: buckets(t, "9"), Strict: true}, []string{"a", "c"}, []string{"a", "c"}, nil},
		"where it is meant for is kept":   {Terms{Buckets: buckets(t, "200=9,*=1"), Strict: true, Home: "c"}, []string{"a", "c"}, []string{"a", "c"}, nil},
		"nor is one dirtier than that of the cleanest node": {
			Terms{Buckets: buckets(t, "200=9,*=1"), Strict: true}, []string{"a", "c", "efficient"}, []string{"a", "c", "efficient"}, nil},
		"no node": {Terms{Buckets: buckets(t, "200=9,*=1"), Strict: true}, nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tt.terms.Locations, tt.terms.Duration = three, time.Hour
			h := newExtender(tt.terms, nodes...).Handler()
			want := extenderv1.ExtenderFilterResult{NodeNames: &tt.kept, FailedAndUnresolvableNodes: tt.dropped}
			got := answerOf[extenderv1.ExtenderFilterResult](t, post(h, FilterPath, byName(t, tt.names...)))
			if len(tt.kept) == 0 { // an empty list, which is not the same as none
				tt.kept = []string{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
