package policy

import (
	"errors"
	"testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestThePlaceOfAPoolIsWhereAllItsNodesAre(t *testing.T) {
	const region, zone = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
	north := v1alpha1.Location{Name: "north", NodeSelector: map[string]string{region: "eu-north-1"}}
	a := v1alpha1.Location{Name: "a", NodeSelector: map[string]string{region: "eu-central-1", zone: "eu-central-1a"}}
	b := v1alpha1.Location{Name: "b", NodeSelector: map[string]string{region: "eu-central-1", zone: "eu-central-1b"}}
	center := v1alpha1.Location{Name: "center", NodeSelector: map[string]string{region: "eu-central-1"}}
	first, germany := v1alpha1.Location{Name: "first"}, v1alpha1.Location{Name: "DE"}
	type labels = map[string][]string
	for name, tt := range map[string]struct {
		locations []v1alpha1.Location
		labels    labels
		want      string
		scattered bool
	}{
		"of one region":                     {[]v1alpha1.Location{first, north}, labels{region: {"eu-north-1"}}, "north", false},
		"of one zone":                       {[]v1alpha1.Location{a, b}, labels{region: {"eu-central-1"}, zone: {"eu-central-1b"}}, "b", false},
		"of two zones":                      {[]v1alpha1.Location{a, b}, labels{region: {"eu-central-1"}, zone: {"eu-central-1b", "eu-central-1a"}}, "", true},
		"of a zone that no location has":    {[]v1alpha1.Location{a, center}, labels{region: {"eu-central-1"}, zone: {"eu-central-1c"}}, "center", false},
		"of the first of two that match":    {[]v1alpha1.Location{a, center}, labels{region: {"eu-central-1"}, zone: {"eu-central-1a"}}, "a", false},
		"of two regions":                    {[]v1alpha1.Location{north, center}, labels{region: {"eu-north-1", "eu-central-1"}}, "", true},
		"of a region that no location has":  {[]v1alpha1.Location{north, center}, labels{region: {"moon-1"}}, "", true},
		"of a region beside one of them":    {[]v1alpha1.Location{north, center}, labels{region: {"eu-north-1", "moon-1"}}, "", true},
		"of any region with one location":   {[]v1alpha1.Location{first}, labels{region: {"moon-1"}}, "", false},
		"of a region by the table":          {[]v1alpha1.Location{first, germany}, labels{region: {"eu-central-1"}}, "DE", false},
		"of two regions at one location":    {[]v1alpha1.Location{first, germany}, labels{region: {"eu-central-1", "europe-west3"}}, "DE", false},
		"without a label that tells":        {[]v1alpha1.Location{north, center}, labels{"kubernetes.io/arch": {"arm64"}}, "", false},
		"without labels":                    {[]v1alpha1.Location{north, center}, nil, "", false},
		"of a region that no label selects": {nil, nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			object := v1alpha1.Default()
			object.Spec.Locations = tt.locations
			p := New(t.Context(), object, "gridlatch-system", nil, t0)
			got, err := p.placeOf((&forecast.Store{}).Snapshot(p.Source), tt.labels)
			if got != tt.want || errors.Is(err, ErrScattered) != tt.scattered {
				t.Errorf("got %q, %v; want %q, scattered %v", got, err, tt.want, tt.scattered)
			}
		})
	}
}
