package main

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// exported is a ConfigMap that Gridlatch's own exporter has written for a policy; "" stands for the
// forecast by the region of the nodes.
func exported(t *testing.T, policy string, document forecast.Document) *corev1.ConfigMap {
	t.Helper()
	now := parse(t, evening)
	binaryData, data, err := document.ConfigMap(now)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: v1alpha1.ForecastConfigMap(policy), CreationTimestamp: metav1.NewTime(now)},
		BinaryData: binaryData, Data: data,
	}
}

// provided is a document with 30 days of the past and, if hours is above zero, a forecast.
func provided(t *testing.T, origin forecast.Origin, hours int) forecast.Document {
	t.Helper()
	now := parse(t, evening).Truncate(time.Hour)
	slots := func(from, to int) *forecast.Series {
		var slots []forecast.Slot
		for n := from; n < to; n++ {
			start := now.Add(time.Duration(n) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: map[bool]float64{true: 100, false: 400}[start.Hour() < 6]})
		}
		return forecast.NewSeries(slots)
	}
	details := forecast.Details{Origin: origin, Attribution: "CC BY 4.0", LacksForecast: hours == 0}
	document := forecast.Document{Actuals: map[string]*forecast.Series{"DE": slots(-30*24, 0)}, Details: map[string]forecast.Details{}}
	if hours > 0 {
		document.Series, details.Issued = map[string]*forecast.Series{"DE": slots(0, hours)}, now
	}
	document.Details["DE"] = details
	return document
}

func TestTheProviderIsNamed(t *testing.T) {
	charts := forecast.Origin{Provider: "Energy-Charts", Zone: "de", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}
	mock := forecast.Origin{Provider: "Mock", Zone: "de", IsMadeUp: true}
	byProvider := v1alpha1.Default()
	byProvider.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	mover := jobOf("mover", v1alpha1.StateHeld, heldAnnotations(), 1)
	for name, tt := range map[string]struct {
		objects []client.Object
		args    string
		want    []string // in what is printed
		code    int
		theirs  bool // somebody else writes a forecast, too
	}{
		"plan, by a policy with a provider": {
			[]client.Object{byProvider, exported(t, "default", provided(t, charts, 48))}, "plan", []string{"Zone de of Energy-Charts, average, life-cycle. CC BY 4.0"}, 0, false,
		},
		"plan, by history": {
			[]client.Object{byProvider, exported(t, "default", provided(t, charts, 0))}, "plan", []string{"by history", "Zone de of Energy-Charts, average, life-cycle. CC BY 4.0"}, 0, false,
		},
		"plan as JSON": {
			[]client.Object{exported(t, "", provided(t, charts, 48))}, "plan -o json",
			[]string{`"source": "ConfigMap gridlatch-system/carbon-intensity/data"`, `"provider": "Energy-Charts"`, `"attribution": "CC BY 4.0"`}, 0, false,
		},
		"plan, without a policy": {
			[]client.Object{exported(t, "", provided(t, mock, 48))}, "plan", []string{"(made up)", "Zone de of Mock (made up). CC BY 4.0"}, 0, false,
		},
		"plan, where somebody else writes a forecast, too": {
			[]client.Object{exported(t, "", provided(t, mock, 48))}, "plan -o json", []string{`"source": "ConfigMap kube-system/carbon-intensity/data"`}, 0, true,
		},
		"plan, where no provider covers the region": {
			[]client.Object{exported(t, "", forecast.Document{Message: "no provider without a key covers the region moon-1"})}, "plan",
			[]string{"gridlatch: no provider without a key covers the region moon-1\n"}, 1, false,
		},
		"plan, where nobody knows the grid": {
			nil, "plan", []string{"ConfigMap kube-system/carbon-intensity does not exist, and no provider is named: name a provider in spec.forecast.provider"}, 1, false,
		},
		"status, without a policy": {
			[]client.Object{exported(t, "", provided(t, mock, 48))}, "status", []string{"  grid: Mock (made up). CC BY 4.0"}, 0, false,
		},
		"explain": {
			[]client.Object{exported(t, "", provided(t, charts, 48)), mover}, "explain job/mover", []string{"  grid          zone de of Energy-Charts, average, life-cycle. CC BY 4.0"}, 0, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			connect, api := fakeCluster(t, tt.objects...)
			if !tt.theirs {
				other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "carbon-intensity"}}
				if err := api.Delete(t.Context(), other); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := call(t, connect, strings.Fields(tt.args)...)
			for _, want := range tt.want {
				if code != tt.code || !strings.Contains(stdout+stderr, want) {
					t.Errorf("exit code %d\n%s%s\nwant %q", code, stdout, stderr, want)
				}
			}
		})
	}
}

func TestStatusSaysHowLateThePastIs(t *testing.T) {
	policy, now := v1alpha1.Default(), parse(t, evening)
	until := metav1.NewTime(now.Add(-24 * time.Hour))
	policy.Status.Locations = []v1alpha1.LocationStatus{
		{Name: "DE", ActualUntil: &until, SecondSource: "Energy-Charts (zone DE) until Nov 26 10:00, times 1.12"}, {Name: "FR", SecondSource: "X, not used: it has\x1b[2Jtold nothing"}, {Name: "IT", ActualUntil: &until},
	}
	connect, _ := fakeCluster(t, policy)
	_, stdout, _ := call(t, connect, "status")
	for _, want := range []string{
		"  past of DE: known until " + until.UTC().Format("Jan 2 15:04") + ", 1d ago; second source: Energy-Charts (zone DE) until Nov 26 10:00, times 1.12\n",
		"  past of FR: nothing is known; second source: X, not used: it has",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("got\n%s\nwant\n%s", stdout, want)
		}
	}
	if strings.Contains(stdout, "past of IT") || strings.Contains(stdout, "\x1b[2J") {
		t.Errorf("got\n%q", stdout)
	}
}

func TestStatusNamesEachProviderOnce(t *testing.T) {
	policy := v1alpha1.Default()
	from := func(name, kind string) v1alpha1.LocationStatus {
		return v1alpha1.LocationStatus{Name: name, Provider: "WattTime", Signal: &v1alpha1.Signal{Kind: kind}, Attribution: "Data: WattTime"}
	}
	policy.Status.Locations = []v1alpha1.LocationStatus{from("A", "Marginal"), from("B", "Marginal"), from("C", "Average"), {Name: "D"}}
	connect, _ := fakeCluster(t, policy)
	_, stdout, _ := call(t, connect, "status")
	if want := "  grid: WattTime, marginal. Data: WattTime\n  grid: WattTime, average. Data: WattTime\n"; !strings.Contains(stdout, want) || strings.Count(stdout, "grid:") != 2 {
		t.Errorf("got\n%s\nwant\n%s", stdout, want)
	}
}
