package policy

import (
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestALocationIsFoundByTheNameOfACloudRegion(t *testing.T) {
	locations := func(l ...v1alpha1.Location) func(*v1alpha1.CarbonPolicySpec) {
		return func(s *v1alpha1.CarbonPolicySpec) { s.Locations = l }
	}
	provided := func(provider string, l ...v1alpha1.Location) func(*v1alpha1.CarbonPolicySpec) {
		return func(s *v1alpha1.CarbonPolicySpec) {
			s.Locations, s.Forecast.Provider = l, &v1alpha1.ForecastProvider{Type: provider}
		}
	}
	byLabel := v1alpha1.Location{Name: "north", NodeSelector: map[string]string{"topology.kubernetes.io/region": "eu-central-1"}}
	for name, tt := range map[string]struct {
		spec     func(*v1alpha1.CarbonPolicySpec)
		forecast []string // the locations of the forecast
		asked    string
		want     string
		mistake  string
	}{
		"the first one":                               {locations(v1alpha1.Location{Name: "X"}), nil, "", "", ""},
		"a location by its name":                      {locations(v1alpha1.Location{Name: "X"}), nil, "X", "X", ""},
		"a location whose nodes are there":            {locations(v1alpha1.Location{Name: "X"}, byLabel), nil, "eu-central-1", "north", ""},
		"the zone of the provider":                    {provided("ElectricityMaps", v1alpha1.Location{Name: "X"}, v1alpha1.Location{Name: "mine", Zone: "DE"}), nil, "eu-central-1", "mine", ""},
		"the name is the zone":                        {provided("ElectricityMaps", v1alpha1.Location{Name: "DE"}), nil, "eu-central-1", "DE", ""},
		"the zone of another provider":                {provided("WattTime", v1alpha1.Location{Name: "mine", Zone: "US-NW-PACW"}), nil, "us-west-2", "us-west-2", "want a location of policy default: mine"},
		"without a provider, any zone":                {locations(v1alpha1.Location{Name: "US-NW-PACW"}), nil, "us-west-2", "US-NW-PACW", ""},
		"a location of the forecast":                  {locations(), []string{"DE", "FR"}, "FR", "FR", ""},
		"a location of the forecast by its region":    {locations(), []string{"FR", "DE"}, "eu-central-1", "DE", ""},
		"a region that the forecast does not have":    {locations(), []string{"DE", "FR"}, "us-west-2", "us-west-2", "want a location of policy default: DE, FR"},
		"a region while there is no forecast yet":     {locations(), nil, "us-west-2", "us-west-2", ""},
		"a region that no cloud has":                  {locations(v1alpha1.Location{Name: "X"}), nil, "moon-1", "moon-1", "want a location of policy default: X"},
		"a location that another one's zone is named": {provided("ElectricityMaps", v1alpha1.Location{Name: "DE", Zone: "FR"}), nil, "eu-central-1", "eu-central-1", "want a location of policy default: DE"},
	} {
		t.Run(name, func(t *testing.T) {
			object := v1alpha1.Default()
			tt.spec(&object.Spec)
			p := New(t.Context(), object, "gridlatch-system", nil, t0)
			store := &forecast.Store{}
			document := forecast.Document{Series: map[string]*forecast.Series{}, Issued: t0}
			for _, l := range tt.forecast {
				document.Series[l] = forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(3600e9), Intensity: 300}})
				document.Elements++
			}
			if len(tt.forecast) > 0 {
				if err := store.Offer(p.Source, document, t0); err != nil {
					t.Fatal(err)
				}
			}
			got, err := p.FindLocation(store.Snapshot(p.Source), tt.asked)
			if got != tt.want || (err != nil) != (tt.mistake != "") || err != nil && !strings.Contains(err.Error(), tt.mistake) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.mistake)
			}
		})
	}
}
