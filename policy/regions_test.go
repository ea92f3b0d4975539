package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestALocationHasTheNodesOfTheRegionInItsZone(t *testing.T) {
	inRegion := func(name string) map[string]string { return map[string]string{corev1.LabelTopologyRegion: name} }
	ofPool := map[string]string{"pool": "green"}
	at := func(name, zone string, selector map[string]string) v1alpha1.Location {
		return v1alpha1.Location{Name: name, Zone: zone, NodeSelector: selector}
	}
	for name, tt := range map[string]struct {
		provider  string // its type; "" if there is none
		regions   []string
		locations []v1alpha1.Location
		want      []map[string]string
		sites     int // locations that the policy chooses from
		warnings  []string
	}{
		"the zone has the name of the location": {"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("DE", "", nil)}, []map[string]string{inRegion("eu-central-1")}, 0, nil},
		"the zone has another name":             {"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("home", "DE", nil)}, []map[string]string{inRegion("eu-central-1")}, 0, nil},
		"two zones": {
			"ElectricityMaps", []string{"eu-west-3", "eu-central-1", ""}, []v1alpha1.Location{at("DE", "", nil), at("FR", "", nil)},
			[]map[string]string{inRegion("eu-central-1"), inRegion("eu-west-3")}, 2, nil,
		},
		"no node is in the region": {"EnergyCharts", []string{"eu-west-3"}, []v1alpha1.Location{at("DE", "", nil), at("FR", "", nil)}, []map[string]string{nil, inRegion("eu-west-3")}, 0, nil},
		"several regions are in the zone": {
			"EnergyCharts", []string{"germanynorth", "europe-west3", "germanywestcentral"}, []v1alpha1.Location{at("DE", "", nil)}, []map[string]string{inRegion("germanynorth")}, 0,
			[]string{`spec.locations[0]: nodes of several regions are in the zone of location "DE" (germanynorth, germanywestcentral, europe-west3), and Gridlatch chooses those of germanynorth only: write a nodeSelector to choose others`},
		},
		"a selector of the user's stays": {"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("DE", "", ofPool)}, []map[string]string{ofPool}, 0, nil},
		"another location has the region": {
			"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("mine", "XX", inRegion("eu-central-1")), at("DE", "", nil)}, []map[string]string{inRegion("eu-central-1"), nil}, 0, nil,
		},
		"the same zone twice":      {"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("A", "DE", nil), at("B", "DE", nil)}, []map[string]string{inRegion("eu-central-1"), nil}, 0, nil},
		"a zone of nobody's":       {"EnergyCharts", []string{"eu-central-1"}, []v1alpha1.Location{at("moon", "", nil)}, []map[string]string{nil}, 0, nil},
		"a provider without zones": {"HTTP", []string{"eu-central-1"}, []v1alpha1.Location{at("DE", "", nil)}, []map[string]string{nil}, 0, nil},
		"no provider":              {"", []string{"eu-central-1"}, []v1alpha1.Location{at("DE", "DE", nil)}, []map[string]string{nil}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := fake.NewClientBuilder()
			for _, r := range tt.regions {
				node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + r}}
				if r != "" {
					node.Labels = inRegion(r)
				}
				b = b.WithObjects(node)
			}
			object := v1alpha1.Default()
			object.Spec.Locations = tt.locations
			if tt.provider != "" {
				object.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: tt.provider}
			}
			before := object.DeepCopy()
			p := New(t.Context(), object, "gridlatch-system", &Nodes{Reader: b.Build()}, t0)
			var got []map[string]string
			for _, l := range p.GridLocations() {
				got = append(got, l.NodeSelector)
			}
			if diff := cmp.Diff(tt.want, got) + cmp.Diff(tt.warnings, p.Warnings); diff != "" || len(p.sites) != tt.sites || len(p.Problems) > 0 {
				t.Errorf("chooses from %v, problems %q\n%s", p.sites, p.Problems, diff)
			}
			if diff := cmp.Diff(before, object); diff != "" {
				t.Errorf("the object in the cache has changed\n%s", diff)
			}
		})
	}
}

func TestARegionIsFoundOnceANodeHasIt(t *testing.T) {
	api := fake.NewClientBuilder().Build()
	object := v1alpha1.Default()
	object.Spec.Locations = []v1alpha1.Location{{Name: "DE"}}
	object.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	nodes := &Nodes{Reader: api}
	has := func() bool {
		return len(New(t.Context(), object, "gridlatch-system", nodes, t0).GridLocations()[0].NodeSelector) > 0
	}
	if has() {
		t.Error("there is a region without nodes")
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{corev1.LabelTopologyRegion: "eu-central-1"}}}
	if err := api.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if nodes.EventHandler().OnAdd(node, false); !has() {
		t.Error("the region of a new node is not found")
	}
}
