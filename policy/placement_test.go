package policy

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestWhereAPodIsMeantToGo(t *testing.T) {
	free := v1alpha1.Default()
	for _, grid := range []string{"north", "west", "east"} {
		free.Spec.Locations = append(free.Spec.Locations, v1alpha1.Location{Name: grid, NodeSelector: map[string]string{"grid": grid}})
	}
	limited := free.DeepCopy()
	limited.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 3}}
	apart := limited.DeepCopy() // the nodes of one alone can be told
	apart.Spec.Locations[1].NodeSelector, apart.Spec.Locations[2].NodeSelector = nil, nil
	planned := map[string]string{v1alpha1.PlannedLocationAnnotation: "west"}
	pinned := map[string]string{v1alpha1.PlannedLocationAnnotation: "west", v1alpha1.LocationAnnotation: "east"}
	for name, tt := range map[string]struct {
		policy      *v1alpha1.CarbonPolicy
		annotations map[string]string
		want        string
	}{
		"anywhere": {free, nil, ""},
		"where it was planned, below the ceilings":               {limited, planned, "west"},
		"below the ceilings of the first, if it was not planned": {limited, nil, "north"},
		"and if the policy does not choose":                      {apart, planned, "north"},
		"not without ceilings: the forecast is new":              {free, planned, ""},
		"where it is pinned":                                     {free, pinned, "east"},
		"where it is pinned, below the ceilings":                 {limited, pinned, "east"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Annotations: tt.annotations}}
			if got := New(t.Context(), tt.policy, "gridlatch-system", nil, t0).HomeOf(pod); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlacementIsStrictUntilTheLatestStart(t *testing.T) {
	latest := t0.Add(2 * time.Hour)
	for name, tt := range map[string]struct {
		placement string
		after     time.Duration
		want      bool
	}{
		"not unless it asks":          {v1alpha1.PlacementPreferred, 0, false},
		"as long as it has time":      {v1alpha1.PlacementStrict, 2*time.Hour - time.Second, true},
		"but not at its latest start": {v1alpha1.PlacementStrict, 2 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				CreationTimestamp: metav1.NewTime(t0),
				Annotations:       map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.PlacementAnnotation: tt.placement, v1alpha1.LatestStartAnnotation: latest.Format(time.RFC3339)},
			}}
			task := builtin().TaskOf(pod)
			if got := IsStrict(pod, task, t0.Add(tt.after)); got != tt.want {
				t.Errorf("strict: %t, want %t", got, tt.want)
			}
		})
	}
}
