package exporter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
)

func nodes(regions ...string) []client.Object {
	var all []client.Object
	for i, region := range regions {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + string(rune('a'+i)), Labels: map[string]string{}}}
		if region != "" {
			n.Labels[corev1.LabelTopologyRegion] = region
		}
		all = append(all, n)
	}
	return all
}

// autoWorld is a world whose exporter finds the zone itself.
func autoWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := newWorld(t, objects...)
	w.IsManual = false
	return w
}

func theForeignForecast() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "carbon-intensity"}}
}

func TestWithoutAProviderTheZoneIsThatOfTheNodes(t *testing.T) {
	const remedy = ": name a provider in spec.forecast.provider of the CarbonPolicy default, and its zones in spec.locations"
	ofType := func(kind provider.Type, zone string) []target {
		return []target{{source: source{kind: kind}, places: []place{{location: zone, zone: zone}}}}
	}
	ofAdvice := func(text string) []target { return []target{{advice: text + remedy}} }
	defaultPolicy := func(change func(*v1alpha1.CarbonPolicy)) *v1alpha1.CarbonPolicy {
		p := v1alpha1.Default()
		change(p)
		return p
	}
	for name, tt := range map[string]struct {
		regions []string
		others  []client.Object
		want    []target
	}{
		"in Great Britain":                      {[]string{"uksouth", "ukwest"}, nil, ofType(provider.TypeUKCarbonIntensity, "GB")},
		"in Germany":                            {[]string{"eu-central-1"}, nil, ofType(provider.TypeEnergyCharts, "DE")},
		"in Denmark":                            {[]string{"denmarkeast"}, nil, ofType(provider.TypeEnerginet, "DK2")},
		"in Denmark and Germany":                {[]string{"denmarkeast", "eu-central-1"}, nil, ofAdvice("the nodes are in several zones of the grid: DK, DE")},
		"in two regions of one zone":            {[]string{"germanynorth", "germanywestcentral", ""}, nil, ofType(provider.TypeEnergyCharts, "DE")},
		"in two zones":                          {[]string{"eu-west-3", "eu-central-1"}, nil, ofAdvice("the nodes are in several zones of the grid: DE, FR")},
		"in zones of two providers":             {[]string{"uksouth", "eu-central-1"}, nil, ofAdvice("no provider without a key has forecasts for all nodes, which are in eu-central-1, uksouth")},
		"where nobody gives forecasts":          {[]string{"us-west-1"}, nil, ofAdvice("no provider without a key has forecasts for all nodes, which are in us-west-1")},
		"in a region that nobody knows":         {[]string{"moon"}, nil, ofAdvice(`the region "moon" of the nodes is not in Gridlatch's table of regions`)},
		"on nodes without the label":            {[]string{""}, nil, ofAdvice("no node has the label topology.kubernetes.io/region, which tells where the nodes are")},
		"with the default policy as it ships":   {[]string{"uksouth"}, []client.Object{v1alpha1.Default()}, ofType(provider.TypeUKCarbonIntensity, "GB")},
		"where somebody else writes a forecast": {[]string{"uksouth"}, []client.Object{theForeignForecast()}, nil},
		"with locations in the default policy": {[]string{"uksouth"}, []client.Object{defaultPolicy(func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Locations = []v1alpha1.Location{{Name: "X"}}
		})}, nil},
		"with another ConfigMap in the default policy": {[]string{"uksouth"}, []client.Object{defaultPolicy(func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.ConfigMap.Name = "mine"
		})}, nil},
		"with a provider in the default policy": {[]string{"uksouth"}, []client.Object{defaultPolicy(func(p *v1alpha1.CarbonPolicy) {
			p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "Mock"}
		})}, []target{{policy: "default", source: source{kind: provider.TypeMock}, places: []place{{}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := autoWorld(t, append(nodes(tt.regions...), tt.others...)...)
			got, err := w.targets(t.Context())
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(target{}, source{}, weatherSource{}, secondSource{}, place{})); err != nil || diff != "" {
				t.Errorf("%v; targets (-want +got):\n%s", err, diff)
			}
			w = newWorld(t, append(nodes(tt.regions...), tt.others...)...) // --auto=false
			got, err = w.targets(t.Context())
			if err != nil || slices.ContainsFunc(got, func(t target) bool { return t.policy == "" }) {
				t.Errorf("with --auto=false: %v, %v", got, err)
			}
		})
	}
}

func TestAPolicyWithoutLocationsHasTheZoneOfTheNodes(t *testing.T) {
	const remedy = ": list the zones of the provider in spec.locations of the CarbonPolicy try"
	for name, tt := range map[string]struct {
		provider v1alpha1.ForecastProvider
		regions  []string
		want     place
		advice   string
	}{
		"Electricity Maps":      {v1alpha1.ForecastProvider{Type: "ElectricityMaps"}, []string{"us-west-1"}, place{location: "US-CAL-CISO", zone: "US-CAL-CISO"}, ""},
		"WattTime":              {v1alpha1.ForecastProvider{Type: "WattTime"}, []string{"us-west-1"}, place{location: "CAISO_NORTH", zone: "CAISO_NORTH"}, ""},
		"the Carbon Aware SDK":  {v1alpha1.ForecastProvider{Type: "CarbonAwareSDK"}, []string{"westus"}, place{location: "westus", zone: "westus"}, ""},
		"the United Kingdom":    {v1alpha1.ForecastProvider{Type: "UKCarbonIntensity"}, nil, place{location: "GB", zone: "GB"}, ""},
		"a mock":                {v1alpha1.ForecastProvider{Type: "Mock"}, nil, place{}, ""},
		"a URL":                 {v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{ForecastURL: "http://x/f"}}, nil, place{}, ""},
		"a URL with a zone":     {v1alpha1.ForecastProvider{Type: "HTTP", HTTP: &v1alpha1.HTTPProvider{PastURL: "http://x/{zone}"}}, nil, place{}, "no node has the label topology.kubernetes.io/region" + remedy},
		"a region of elsewhere": {v1alpha1.ForecastProvider{Type: "EnergyCharts"}, []string{"us-west-1"}, place{}, "no zone of EnergyCharts is known for the region us-west-1 of the nodes" + remedy},
		"several zones":         {v1alpha1.ForecastProvider{Type: "EnergyCharts"}, []string{"eu-central-1", "eu-west-3"}, place{}, "the nodes are in several zones of EnergyCharts: DE, FR" + remedy},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "try"}}
			p.Spec.Forecast.Provider = &tt.provider
			got := targetOf(p, nodeRegions{names: tt.regions})
			if got.advice != tt.advice || got.advice == "" && !slices.Equal(got.places, []place{tt.want}) {
				t.Errorf("places %v, advice %q; want %v, %q", got.places, got.advice, tt.want, tt.advice)
			}
		})
	}
}

func TestTheRegionsOfOtherCloudsAreNotTakenForThoseOfTheTable(t *testing.T) {
	for name, tt := range map[string]struct {
		region      string
		providerIDs []string
		isBelieved  bool
	}{
		"of AWS":                            {"eu-west-1", []string{"aws:///eu-west-1a/i-0123456789abcdef0"}, true},
		"of AWS and of nobody":              {"eu-west-1", []string{"aws:///eu-west-1a/i-0123456789abcdef0", ""}, true},
		"labelled by the cluster's owner":   {"eu-west-1", []string{""}, true},
		"of Alibaba, in London":             {"eu-west-1", []string{"eu-west-1.i-d7o0123456789abcdefg"}, false},
		"of AWS and of Alibaba":             {"eu-west-1", []string{"aws:///eu-west-1a/i-0123456789abcdef0", "eu-west-1.i-d7o0123456789abcdefg"}, false},
		"of Outscale, in Paris":             {"eu-west-3", []string{"osc:///eu-west-3a/i-01234567"}, false},
		"of Outscale, with the form of AWS": {"eu-west-3", []string{"aws:///eu-west-3a/i-01234567"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := autoWorld(t)
			for i, id := range tt.providerIDs {
				n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + string(rune('a'+i)), Labels: map[string]string{corev1.LabelTopologyRegion: tt.region}}}
				n.Spec.ProviderID = id
				if err := w.Client.Create(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			named := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "named"}}
			named.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
			if err := w.Client.Create(t.Context(), named); err != nil {
				t.Fatal(err)
			}
			targets, err := w.targets(t.Context())
			if err != nil || len(targets) != 2 {
				t.Fatalf("targets %v, %v", targets, err)
			}
			for _, target := range targets {
				problem := "spec.providerID of the nodes says that their region " + tt.region + " is of another cloud than the region of that name in Gridlatch's table: "
				if (target.advice == "") != tt.isBelieved || !tt.isBelieved && !strings.HasPrefix(target.advice, problem) {
					t.Errorf("policy %q: places %v, advice %q", target.policy, target.places, target.advice)
				}
			}
		})
	}
}

func TestACachedNodeKeepsOnlyWhereItIs(t *testing.T) {
	long := strings.Repeat("x", 250<<10)
	n := nodes("eu-west-1")[0].(*corev1.Node)
	n.Labels["example.com/junk"], n.Annotations = "x", map[string]string{"example.com/junk": long}
	n.Spec = corev1.NodeSpec{ProviderID: "aws://" + long, PodCIDR: long}
	n.Status.Images = []corev1.ContainerImage{{Names: []string{long}}}
	stripped, err := stripNode(n)
	if err != nil {
		t.Fatal(err)
	}
	want := nodes("eu-west-1")[0].(*corev1.Node)
	want.Spec.ProviderID = ("aws://" + long)[:maxProviderID]
	if diff := cmp.Diff(want, stripped); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestANodeThatMovesIsNoticedAndItsHeartbeatIsNot(t *testing.T) {
	before := nodes("eu-west-1")[0].(*corev1.Node)
	beaten, moved, known := before.DeepCopy(), before.DeepCopy(), before.DeepCopy()
	beaten.ResourceVersion = "2"
	moved.Labels[corev1.LabelTopologyRegion] = "eu-west-3"
	known.Spec.ProviderID = "aws:///eu-west-1a/i-0123456789abcdef0"
	for name, tt := range map[string]struct {
		after *corev1.Node
		want  int
	}{"a heartbeat": {beaten, 0}, "another region": {moved, 1}, "a cloud": {known, 1}} {
		notices := 0
		handlerOf(func() { notices++ }).OnUpdate(before, tt.after)
		if notices != tt.want {
			t.Errorf("%s: %d notices, want %d", name, notices, tt.want)
		}
	}
}

func TestAForecastThatSomebodyElseRefreshesIsNotReplaced(t *testing.T) {
	w := autoWorld(t, append(nodes("uksouth"), theForeignForecast())...)
	count := func() int {
		t.Helper()
		targets, err := w.targets(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(targets)
	}
	count()
	if err := w.Client.Delete(t.Context(), theForeignForecast()); err != nil {
		t.Fatal(err)
	}
	for range 9 { // the exporter of others deletes its ConfigMap at each refresh
		w.clock.Step(time.Minute)
		if count() != 0 {
			t.Fatal("a forecast that is away for minutes is replaced")
		}
	}
	w.clock.Step(time.Minute)
	if count() != 1 {
		t.Error("a forecast that is away for long is not replaced")
	}
	if err := w.Client.Create(t.Context(), theForeignForecast()); err != nil {
		t.Fatal(err)
	}
	if count() != 0 {
		t.Error("the exporter goes on although somebody else writes a forecast")
	}
}

func TestAClusterWithoutNodesForAWhileKeepsItsZone(t *testing.T) {
	w := autoWorld(t, nodes("eu-central-1")...)
	before, err := w.targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Client.Delete(t.Context(), nodes("eu-central-1")[0]); err != nil {
		t.Fatal(err)
	}
	after, err := w.targets(t.Context())
	if diff := cmp.Diff(before, after, cmp.AllowUnexported(target{}, source{}, weatherSource{}, secondSource{}, place{})); err != nil || diff != "" {
		t.Errorf("%v; targets (-before +after):\n%s", err, diff)
	}
}

// configMapOf returns a ConfigMap of the exporter under a name that may be another one.
func configMapOf(exportedAs, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: map[string]string{managedByLabel: managedBy}, Annotations: map[string]string{ownNameAnnotation: exportedAs},
	}}
}

func ours(name string) *corev1.ConfigMap { return configMapOf(name, name) }

// mockPolicy returns a policy that asks nobody.
func mockPolicy(name string) *v1alpha1.CarbonPolicy {
	p := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "Mock"}
	return p
}

func TestConfigMapsOfPoliciesThatAreGoneAreDeleted(t *testing.T) {
	theirs := ours("carbon-intensity-theirs")
	theirs.Labels = nil
	elsewhere := ours("carbon-intensity-gone")
	elsewhere.Namespace = "default"
	copied := configMapOf("carbon-intensity-try", "carbon-intensity-try-backup")
	w := newWorld(t, ours("carbon-intensity-back"), ours("carbon-intensity-gone"), ours("carbon-intensity"), theirs, elsewhere, copied)
	defer w.stopAll()
	check := func(want ...string) {
		t.Helper()
		if err := w.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		var deleted []string
		for _, write := range w.written() {
			if strings.HasPrefix(write, "delete") {
				deleted = append(deleted, write)
			}
		}
		slices.Sort(deleted)
		if diff := cmp.Diff(want, deleted); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check()
	w.clock.Step(strayPause - time.Second)
	check() // a policy may come back
	if err := w.Client.Create(t.Context(), mockPolicy("back")); err != nil {
		t.Fatal(err)
	}
	check()
	w.clock.Step(time.Second)
	check("delete carbon-intensity", "delete carbon-intensity-gone")
}

func TestAConfigMapThatMayNotBeDeletedKeepsNothingFromBeingDone(t *testing.T) {
	w := autoWorld(t, append(nodes("us-west-1"), ours("other"), ours("carbon-intensity-gone"))...)
	w.forbid = "delete other"
	for range 2 {
		if err := w.check(t.Context()); w.configMap("other") == nil {
			t.Fatal(err)
		}
		w.clock.Step(strayPause)
	}
	err := w.check(t.Context())
	if err == nil || w.configMap("carbon-intensity-gone") != nil || w.configMap("carbon-intensity") == nil {
		t.Errorf("%v; the stray is left: %v; the advice is there: %v", err, w.configMap("carbon-intensity-gone") != nil, w.configMap("carbon-intensity") != nil)
	}
}

func TestAConfigMapThatSomebodyElseHasCreatedIsNotOverwritten(t *testing.T) {
	immutable := true
	for name, theirs := range map[string]*corev1.ConfigMap{
		"of no mark":               {ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "carbon-intensity-try"}},
		"that is immutable":        {ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "carbon-intensity-try"}, Immutable: &immutable},
		"a copy of another policy": configMapOf("carbon-intensity-other", "carbon-intensity-try"),
	} {
		t.Run(name, func(t *testing.T) {
			theirs.Data = map[string]string{"mine": "yes"}
			w := newWorld(t, mockPolicy("try"), theirs)
			w.runUntil(w.asker(w.Exporter), start().Add(time.Minute))
			if got := w.configMap("carbon-intensity-try"); got == nil || got.Data["mine"] != "yes" || len(got.Data) != 1 || len(w.written()) > 0 {
				t.Errorf("got %v, writes %q", got, w.written())
			}
			if refused := testutil.ToFloat64(w.Metrics.writes.WithLabelValues(outcomeRefused)); refused == 0 {
				t.Error("the metric says nothing")
			}
		})
	}
}

func TestTheForecastByRegionGoesOnInTheNamespaceOfTheUsualConfigMap(t *testing.T) {
	w := autoWorld(t, nodes("uksouth")...)
	w.Namespace = v1alpha1.Default().Spec.Forecast.ConfigMap.Namespace
	if _, err := w.write(t.Context(), "carbon-intensity", forecast.Document{Message: "wait"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.clock.Step(foreignPause)
		if targets, err := w.targets(t.Context()); err != nil || len(targets) != 1 {
			t.Errorf("%d targets, %v; want 1", len(targets), err)
		}
	}
}

func TestWhatHasToBeDoneIsInTheConfigMap(t *testing.T) {
	w := autoWorld(t, nodes("us-west-1")...)
	for range 3 {
		if err := w.check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c := w.configMap("carbon-intensity")
	if c == nil || !strings.Contains(c.Data["message"], "us-west-1: name a provider") || c.Data["numOfRecords"] != "0" {
		t.Errorf("%v", c)
	}
	if diff := cmp.Diff([]string{"create carbon-intensity"}, w.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}
