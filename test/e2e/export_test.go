package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/gridserver"
)

// TestAJobWaitsByWhatAProviderSays is the whole chain: a policy names a provider, the exporter asks it and writes the
// ConfigMap, and the controller holds a Job and releases it.
func TestAJobWaitsByWhatAProviderSays(t *testing.T) {
	const policy, place = "hamburg", "HAMBURG"
	clean := time.Now().Truncate(2 * time.Second).Add(50 * time.Second)
	s := provider(t, gridserver.Behaviour{Intensity: cleanAt(clean), Boundaries: inSeconds()})
	cluster.Exporter(t)
	providerPolicy(t, cluster, policy, v1alpha1.ForecastProvider{Type: "EnergyCharts", BaseURL: s.EnergyCharts()},
		v1alpha1.Location{Name: place, Zone: "DE"})
	document := awaitPublished(t, cluster, policy, hasForecast(place))
	want := forecast.Origin{Provider: "Energy-Charts", Zone: "DE", Signal: forecast.Signal{Kind: forecast.Average}}
	if got := document.Details[place]; got.Origin != want || !strings.Contains(got.Attribution, "CC BY 4.0") || got.Issued.IsZero() {
		t.Errorf("details %+v, want the origin %+v", got, want)
	}
	wantFormatOfExporter(t, policy)

	ns := namespace(t, cluster)
	work := tolerant(v1alpha1.PolicyAnnotation, policy)
	awaitPolicy(t, policy, wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, ""))
	create(t, cluster, job(ns, "patient", work, 2))
	held := awaitGated(t, cluster, ns, 2)[0]
	planned, err := time.Parse(time.RFC3339, held.Annotations[v1alpha1.PlannedStartAnnotation])
	if err != nil || planned.Sub(clean).Abs() > time.Second {
		t.Errorf("planned for %s, clean at %s: %v: %s", planned, clean, err, held.Annotations[v1alpha1.ReasonAnnotation])
	}
	t.Logf("held %s before it is clean: %s", time.Until(clean).Round(time.Second), held.Annotations[v1alpha1.ReasonAnnotation])
	for _, p := range awaitScheduled(t, cluster, ns, 2, time.Until(clean)+patience) {
		if early := clean.Sub(bound(t, p)); early > 2*time.Second {
			t.Errorf("pod %s started %s before it was clean", p.Name, early)
		}
	}
	awaitComplete(t, cluster, ns, "patient")
	// Energy-Charts is asked twice a minute: the first part of the past came while the Job was held
	awaitPublished(t, cluster, policy, func(d forecast.Document) error {
		if known := d.Actuals[place]; known.IsEmpty() || known.End().Sub(known.Start()) < 13*24*time.Hour {
			return fmt.Errorf("the past is known from %s to %s", known.Start(), known.End())
		}
		return nil
	})
	awaitPolicy(t, policy, func(p *v1alpha1.CarbonPolicy) error {
		if len(p.Status.Locations) != 1 {
			return fmt.Errorf("status %+v", p.Status)
		}
		l := p.Status.Locations[0]
		if l.Provider != "Energy-Charts" || l.Signal == nil || l.Signal.Kind != "Average" || !strings.Contains(l.Attribution, "CC BY 4.0") ||
			l.ActualUntil == nil || l.ForecastIssued == nil || l.LearnedDays < 12 {
			return fmt.Errorf("location %+v", l)
		}
		return nil
	})
	for _, r := range s.Requests() {
		if r.Status != 200 || !strings.HasPrefix(r.UserAgent, "gridlatch/") {
			t.Errorf("request %+v", r)
		}
	}
}

// wantFormatOfExporter checks what programs look for that read the carbon-intensity exporter's ConfigMap.
func wantFormatOfExporter(t *testing.T, policy string) {
	t.Helper()
	found, document, err := published(t.Context(), cluster, policy)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"lastHeartbeatTime", "message", "numOfRecords", "forecastDateTime", "minForecast", "maxForecast"} {
		if _, ok := found.Data[key]; !ok {
			t.Errorf("no key %s in data: %v", key, found.Data)
		}
	}
	plain, err := forecast.Parse(found.BinaryData["data"])
	if err != nil || len(plain.Series) != len(document.Series) {
		t.Errorf("the array has %d locations, want %d: %v", len(plain.Series), len(document.Series), err)
	}
}

func TestADeletedForecastComesBackAndNothingIsDecidedWithoutIt(t *testing.T) {
	const policy, place = "kent", "KENT"
	s := provider(t, gridserver.Behaviour{})
	cluster.Exporter(t)
	providerPolicy(t, cluster, policy, inBritain(s), v1alpha1.Location{Name: place, Zone: "GB"})
	before := awaitPublished(t, cluster, policy, wholePast(place))
	awaitPolicy(t, policy, wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, ""))
	asked := len(s.Requests())
	if _, err := cluster.Kubectl(t.Context(), "delete", "configmap", v1alpha1.ForecastConfigMap(policy), "-n", env.Namespace); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "in-between", longTolerant(v1alpha1.PolicyAnnotation, policy), 1))
	awaitGated(t, cluster, ns, 1)
	after := awaitPublished(t, cluster, policy, wholePast(place))
	if !after.Series[place].Start().Equal(before.Series[place].Start()) || len(s.Requests()) != asked {
		t.Errorf("the forecast begins at %s, was %s; %d requests since", after.Series[place].Start(), before.Series[place].Start(), len(s.Requests())-asked)
	}
	awaitPolicy(t, policy, wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonCurrent, ""))
}

// longTolerant are the annotations of work that waits for the clean time of a usual day.
func longTolerant(more ...string) map[string]string {
	return tolerant(append([]string{v1alpha1.DeadlineAnnotation, "20h", v1alpha1.DurationAnnotation, "1h"}, more...)...)
}

// TestTheExporterMayDoNothingElse asks the API server what the shipped manifests allow.
func TestTheExporterMayDoNothingElse(t *testing.T) {
	const as = "--as=system:serviceaccount:" + env.Namespace + ":gridlatch-export"
	for what, args := range map[string][]string{
		"read the CA's key":         {"get", "secret", "gridlatch-ca", "-n", env.Namespace},
		"read any Secret":           {"get", "secret", "somebody-elses", "-n", env.Namespace},
		"list Secrets":              {"get", "secrets", "-n", env.Namespace},
		"read Secrets elsewhere":    {"get", "secret", "electricity-maps", "-n", "default"},
		"see pods":                  {"get", "pods", "-n", "default"},
		"create pods":               {"run", "work", "--image=work", "-n", env.Namespace},
		"change policies":           {"create", "-f", "../../manifests/default-policy.yaml"},
		"write other ConfigMaps":    {"create", "configmap", "other", "-n", env.Namespace},
		"write ConfigMaps outside":  {"create", "configmap", "carbon-intensity", "-n", "default"},
		"write what others publish": {"create", "configmap", "carbon-intensity", "-n", "kube-system"},
	} {
		t.Run(what, func(t *testing.T) {
			output, err := cluster.Kubectl(t.Context(), append(args, as)...)
			if err == nil || !strings.Contains(err.Error(), "orbidden") && !strings.Contains(err.Error(), "the exporter of Gridlatch may write") {
				t.Errorf("it may: %v %s", err, output)
			}
		})
	}
	if _, err := cluster.Kubectl(t.Context(), "create", "configmap", "carbon-intensity-mine", "-n", env.Namespace, "--dry-run=server", as); err != nil {
		t.Errorf("it may not write a forecast: %v", err)
	}
}

func secret(key string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: env.Namespace, Name: "electricity-maps"}, StringData: map[string]string{"key": key},
	}
}

// TestAKeyIsReadFromASecretAndAnOtherSignalBeginsANewPast takes a keyed provider from no Secret over a wrong key to one
// that is replaced, and then asks for another signal.
func TestAKeyIsReadFromASecretAndAnOtherSignalBeginsANewPast(t *testing.T) {
	const policy, place = "default", "LYON"
	c, g := ownCluster(t)
	s := provider(t, gridserver.Behaviour{Keys: []string{"first-s3cret"}})
	e := c.Exporter(t)
	ask := v1alpha1.ForecastProvider{Type: "ElectricityMaps", BaseURL: s.ElectricityMaps(), SecretRef: &v1alpha1.SecretReference{Name: "electricity-maps"}}
	providerPolicy(t, c, policy, ask, v1alpha1.Location{Name: place, Zone: "FR"})
	awaitMessage(t, c, policy, "the Secret electricity-maps does not exist: create it with: kubectl")
	if n := len(s.Requests()); n > 0 {
		t.Errorf("%d requests without a key", n)
	}

	wrong := secret("wr0ng-s3cret")
	create(t, c, wrong)
	awaitMessage(t, c, policy, "the key is missing, wrong or expired")
	use(t, c, "first-s3cret")
	awaitPublished(t, c, policy, wholePast(place))

	// the answers to the new key are garbled at first: the last good ones stay
	s.Change(func(b *gridserver.Behaviour) { b.Keys, b.Failure = []string{"second-s3cret"}, gridserver.Garbled })
	use(t, c, "second-s3cret")
	awaitMessage(t, c, policy, "the JSON is broken at byte")
	awaitTold(t, c, policy, v1alpha1.ReasonLastGood, "the JSON is broken at byte")
	ns := namespace(t, c)
	create(t, c, job(ns, "meanwhile", longTolerant(), 1))
	awaitGated(t, c, ns, 1)
	s.Change(func(b *gridserver.Behaviour) { b.Failure = nil })
	env.Eventually(t, exportPatience, func(context.Context) error {
		for _, r := range s.Requests() {
			if r.Key == "second-s3cret" && r.Status == 200 {
				return nil
			}
		}
		return fmt.Errorf("the new key is not used yet")
	})
	awaitMessage(t, c, policy, "")

	// half of it leaves the chimney
	s.Change(func(b *gridserver.Behaviour) {
		whole := usual()
		b.Intensity = func(_ string, at time.Time) (float64, bool) { return whole(at) / 2, true }
	})
	if _, err := c.Kubectl(t.Context(), "patch", "carbonpolicy", policy, "--type=merge",
		"-p", `{"spec":{"forecast":{"provider":{"signal":{"emissionFactors":"Direct"}}}}}`); err != nil {
		t.Fatal(err)
	}
	document := awaitPublished(t, c, policy, func(d forecast.Document) error {
		if d.Details[place].Origin.Signal.EmissionFactors != forecast.Direct {
			return fmt.Errorf("details %+v", d.Details)
		}
		return wholePast(place)(d)
	})
	for _, slot := range document.Actuals[place].Slots() {
		if slot.Intensity > 250 {
			t.Fatalf("a slot of another signal stayed: %+v", slot)
		}
	}
	env.Eventually(t, exportPatience, func(ctx context.Context) error { // the controller has begun anew, too
		p := &v1alpha1.CarbonPolicy{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: policy}, p); err != nil {
			return err
		}
		l := p.Status.Locations[0]
		if l.Signal == nil || l.Signal.EmissionFactors != "Direct" || l.Intensity == nil || *l.Intensity > 250 || l.LearnedDays != v1alpha1.DaysToLearn {
			return fmt.Errorf("location %+v", l)
		}
		return nil
	})
	found, _, err := published(t.Context(), c, policy)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{
		"the exporter's log": e.Log(), "the controller's log": g.Log(), "the ConfigMap": fmt.Sprint(found.Data),
	} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("a key shows in %s", where)
		}
	}
}

// awaitTold waits until the status of a policy says something on its forecast.
func awaitTold(t *testing.T, c *env.Cluster, policy, reason, says string) {
	t.Helper()
	env.Eventually(t, exportPatience, func(ctx context.Context) error {
		p := &v1alpha1.CarbonPolicy{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: policy}, p); err != nil {
			return err
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, reason, says)(p)
	})
}

// use replaces the key in the Secret.
func use(t *testing.T, c *env.Cluster, key string) {
	t.Helper()
	if err := c.Client.Update(t.Context(), secret(key)); err != nil {
		t.Fatal(err)
	}
}
