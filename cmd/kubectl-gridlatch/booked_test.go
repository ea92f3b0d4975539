package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
	"github.com/gridlatch/gridlatch/ledger/pages"
	"github.com/gridlatch/gridlatch/policy"
)

// reportDays is how many days the ledger of the tests has.
const reportDays = 20

// bookedGroup returns work that came at an hour of a day, waited, and ran for three hours at 1 kW.
func bookedGroup(t *testing.T, daysAgo int, name string, arrivedHour, waitHours int) ledger.Group {
	t.Helper()
	arrived := parse(t, evening).Truncate(24*time.Hour).AddDate(0, 0, -daysAgo).Add(time.Duration(arrivedHour) * time.Hour)
	released := arrived.Add(time.Duration(waitHours) * time.Hour)
	ended := released.Add(3 * time.Hour)
	return ledger.Group{
		UID: fmt.Sprintf("%s-%d", name, daysAgo), Kind: "Job", Namespace: "batch", Name: fmt.Sprintf("%s-%d", name, daysAgo), Owner: "CronJob/" + name,
		Policy: "default", Mode: ledger.Enforce, Source: gridSource().String(), Location: "DE", OtherLocation: "DE",
		Arrived: arrived, LatestStart: arrived.Add(12 * time.Hour), Released: released, Ended: ended, SeenEnd: true, Wait: released.Sub(arrived),
		Steps: []ledger.Step{{Start: released, End: ended, Watts: 1000}}, Energy: energy.Modelled, Units: 1, EmbodiedGrams: 3, CoreHours: 3,
	}
}

// gridSource is the forecast by a policy that names a provider.
func gridSource() forecast.Source { return policy.SourceOf(gridPolicy(), "gridlatch-system") }

func gridPolicy() *v1alpha1.CarbonPolicy {
	p := v1alpha1.Default()
	p.Spec.Forecast.Provider = &v1alpha1.ForecastProvider{Type: "EnergyCharts"}
	return p
}

// bookedGroups returns the work of some weeks: nightly work that gains, morning work that loses,
// work that fails, work that is audited, and work of which nobody knows the energy.
func bookedGroups(t *testing.T) []ledger.Group {
	t.Helper()
	var all []ledger.Group
	for daysAgo := range reportDays {
		nightly := bookedGroup(t, daysAgo+1, "nightly", 20, 5) // 400 at once, 100 from 1:00 to 4:00
		nightly.Energy = map[bool]energy.Source{true: energy.Measured, false: energy.Modelled}[daysAgo%4 == 0]
		audited := bookedGroup(t, daysAgo+1, "trial", 20, 0)
		audited.Mode, audited.Namespace, audited.Wait = ledger.Audit, "shop", 5*time.Hour
		all = append(all, nightly, audited)
		if daysAgo%5 == 0 {
			all = append(all, bookedGroup(t, daysAgo+1, "early", 3, 4)) // 100 at once, 400 from 7:00
		}
	}
	failed := bookedGroup(t, 2, "broken", 10, 0)
	failed.Failed, failed.Units = true, 0
	failed.Steps[0].FailedWatts = failed.Steps[0].Watts
	unknown := bookedGroup(t, 8, "bare", 9, 0)
	unknown.Energy, unknown.Steps, unknown.SeenEnd = energy.Unknown, nil, false
	elsewhere := bookedGroup(t, 9, "island", 9, 0)
	elsewhere.Location, elsewhere.OtherLocation, elsewhere.Energy = "XX", "XX", energy.Stated
	return append(all, failed, unknown, elsewhere)
}

// actualGrid is the past of the grid: 100 gCO2eq/kWh until 6:00, and 400 after that.
func actualGrid(t *testing.T) forecast.Document {
	t.Helper()
	return provided(t, forecast.Origin{Provider: "Energy-Charts", Zone: "de", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}}, 48)
}

// booked returns the ConfigMaps with the pages of groups, as the keeper writes them, and the
// forecast.
func booked(t *testing.T, groups ...ledger.Group) []client.Object {
	t.Helper()
	document, now := actualGrid(t), parse(t, evening)
	actuals := func(source, location string) *forecast.Series {
		if source != gridSource().String() {
			return &forecast.Series{}
		}
		return document.Actuals[location]
	}
	objects := []client.Object{gridPolicy(), exported(t, "default", document), history.ConfigMap(gridSource(), "DE", document.Details["DE"].Origin, nil)}
	objects[2].SetNamespace("gridlatch-system")
	return append(objects, pagesOf(t, actuals, now, groups)...)
}

// pagesOf returns the ConfigMaps with the pages of groups, in order, as the keeper writes them.
func pagesOf(t *testing.T, actuals ledger.Actuals, now time.Time, groups []ledger.Group) []client.Object {
	t.Helper()
	byDay := map[string]*ledger.Page{}
	for _, g := range groups {
		name := ledger.DayOf(g.Ended)
		if byDay[name] == nil {
			byDay[name] = ledger.NewPage(name)
		}
		if !byDay[name].Book(g) {
			t.Fatalf("%s is booked already", g.UID)
		}
	}
	var objects []client.Object
	for _, name := range slices.Sorted(maps.Keys(byDay)) {
		page := byDay[name]
		page.Count(actuals, now)
		page.Settle(actuals, now)
		page.Forget(now.Add(-ledger.SettledAfter))
		encoded, err := page.Encode(actuals)
		if err != nil {
			t.Fatal(err)
		}
		written := metav1.NewTime(now.Add(-7 * time.Minute))
		objects = append(objects, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "gridlatch-system", Name: pages.ConfigMapName(name), Labels: map[string]string{pages.Label: "day"},
				ManagedFields: []metav1.ManagedFieldsEntry{{
					Manager: "gridlatch", Operation: metav1.ManagedFieldsOperationUpdate, Time: &written,
					APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}"),
				}},
			},
			BinaryData: map[string][]byte{pages.DataKey: encoded},
		})
	}
	return objects
}

// counted returns the ConfigMaps with a census of the cluster on each page: 100 cores for a day, of which
// 30 can wait, and 12 did.
func counted(t *testing.T, objects []client.Object) []client.Object {
	t.Helper()
	for _, o := range objects {
		c, ok := o.(*corev1.ConfigMap)
		if !ok || c.Labels[pages.Label] == "" {
			continue
		}
		page, err := ledger.Decode(c.BinaryData[pages.DataKey])
		if err != nil {
			t.Fatal(err)
		}
		page.AddCensus(ledger.Census{Samples: 24, Until: parse(t, page.Name()+"T23:10:00Z"), CoreHours: 2400, ElasticCoreHours: 720, HeldCoreHours: 288})
		if c.BinaryData[pages.DataKey], err = page.Encode(nil); err != nil {
			t.Fatal(err)
		}
	}
	return objects
}

// hostileLedger returns the pages of a ledger of a day that is open and of one that is settled, in
// which all texts are hostile; and a page that is damaged.
func hostileLedger(t *testing.T) []client.Object {
	t.Helper()
	var groups []ledger.Group
	for _, daysAgo := range []int{1, 9} {
		g := bookedGroup(t, daysAgo, "nightly", 20, 5)
		g.UID, g.Kind, g.Namespace, g.Name, g.Owner = g.UID+hostileText, hostileText, hostileText, hostileText, hostileText
		g.Policy, g.Location, g.OtherLocation, g.Source = hostileText, hostileText, hostileText, hostileText
		groups = append(groups, g)
	}
	pagesOf := booked(t, groups...)[3:]
	damaged := pagesOf[0].DeepCopyObject().(*corev1.ConfigMap)
	damaged.Name, damaged.BinaryData = pages.ConfigMapName("2026-11-01"), map[string][]byte{pages.DataKey: []byte(hostileText)}
	origin := history.ConfigMap(forecast.Source{}, hostileText, forecast.Origin{Provider: hostileText, Zone: hostileText, Signal: forecast.Signal{Kind: forecast.Kind(hostileText)}}, nil)
	origin.Namespace = "gridlatch-system"
	return append(pagesOf, damaged, origin)
}

// writeDump writes ConfigMaps into a file, as `kubectl get configmaps -o yaml` does.
func writeDump(t *testing.T, withManagedFields bool, objects []client.Object) string {
	t.Helper()
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{}}
	for _, o := range objects {
		if c, ok := o.(*corev1.ConfigMap); ok {
			c = c.DeepCopy()
			if !withManagedFields {
				c.ManagedFields = nil
			}
			c.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
			list["items"] = append(list["items"].([]any), c)
		}
	}
	data, err := yaml.Marshal(list)
	if err != nil { // it refuses control characters
		data, err = json.Marshal(list)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ledger.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
