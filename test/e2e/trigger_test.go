package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestTheCarbonTrigger tells its stories on one cluster. Most of them wait, each in a namespace of its own, at the same
// time. Those that break something for all follow one after the other.
func TestTheCarbonTrigger(t *testing.T) {
	var early *unstructured.Unstructured
	s := newTriggerStage(t, func(s *triggerStage) { early = applyBeforeGridlatch(t, s) })
	comesAfterTheObject(t, s, early)
	t.Run("in peace", func(t *testing.T) {
		t.Run("the object of the tutorials", func(t *testing.T) {
			t.Parallel()
			scalesTheVerbatimObject(t, s)
		})
		for name, story := range map[string]func(*testing.T, *site){
			"handler pause keeps the replicas":           keepsReplicasWhilePaused,
			"a user's own pause stays":                   leavesAUsersPause,
			"beside another trigger it only caps":        capsBesideOthers,
			"the owner adds a trigger and takes it away": followsTheOwnersTriggers,
			"a ScaledJob":                      startsJobsWhileClean,
			"a ScaledJob with another trigger": pausesJobsOfOthers,
			"gradual":                          risesByDegrees,
			"the cleanest hours of the day":    runsInTheCleanestHours,
			"hysteresis":                       staysCleanWithinTheHysteresis,
			"nothing is known":                 isCleanWhereNothingIsKnown,
			"bad metadata is refused":          refusesBadMetadata,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story(t, s.site(t))
			})
		}
		t.Run("written as external-push by the owner", func(t *testing.T) {
			t.Parallel()
			leavesTheExplicitForm(t, s)
		})
	})
	tellsOfPauses(t, s)
	outlivesAReplica(t, s)
	outlivesKEDA(t, s)
	doesWithoutTheWebhook(t, s)
	givesTheTriggersBack(t, s)
}

// applyBeforeGridlatch applies an object that KEDA alone can do nothing with.
func applyBeforeGridlatch(t *testing.T, s *triggerStage) *unstructured.Unstructured {
	t.Helper()
	ns := namespace(t, s.cluster)
	o := env.ScaledObject(ns, "early", 0, 5)
	setTriggers(o, map[string]any{"type": "carbon-intensity", "metadata": map[string]any{"region": ns, "emissionThreshold": threshold}})
	create(t, s.cluster, env.Deployment(ns, "early"), o)
	awaitObject(t, s.cluster, o, wantReady(o, "False"))
	return o
}

func comesAfterTheObject(t *testing.T, s *triggerStage, o *unstructured.Unstructured) {
	t.Helper()
	s.grid.set(t, o.GetNamespace(), cleanIntensity)
	awaitTypes(t, s.cluster, o, "external-push")
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(o), 5, patience)
	awaitObject(t, s.cluster, o, wantReady(o, "True"))
	awaitEventSaying(t, s.cluster, o, ceiling.EventTriggerRewritten, "")
}

// wantReady is for awaitObject: KEDA says of an object of its own whether it can do what is asked.
func wantReady(o *unstructured.Unstructured, want string) func() error {
	return func() error {
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			if c := c.(map[string]any); c["type"] == "Ready" && c["status"] == want {
				return nil
			}
		}
		return fmt.Errorf("not Ready=%s: %v", want, conditions)
	}
}

// scalesTheVerbatimObject changes nothing of what the tutorials say. So KEDA waits for five minutes before it takes the
// last replica away: this time is made to have passed.
func scalesTheVerbatimObject(t *testing.T, s *triggerStage) {
	create(t, s.cluster, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ml-ops"}}, env.Deployment("ml-ops", "model-trainer-worker"))
	target := client.ObjectKey{Namespace: "ml-ops", Name: "model-trainer-worker"}
	s.grid.set(t, zoneOfUSWest2, dirtyIntensity)
	apply(t, s.cluster, verbatim)
	o := parse(t, verbatim)
	awaitObject(t, s.cluster, o, wantReady(o, "True"))
	awaitTypes(t, s.cluster, o, "external-push")
	keepsScale(t, s.cluster, target, 0)
	s.grid.set(t, zoneOfUSWest2, cleanIntensity)
	awaitScale(t, s.cluster, target, 20, riseTime)
	s.grid.set(t, zoneOfUSWest2, dirtyIntensity)
	awaitScale(t, s.cluster, target, 1, patience)
	cooled := fmt.Sprintf(`{"status":{"lastActiveTime":%q}}`, time.Now().Add(-6*time.Minute).UTC().Format(time.RFC3339))
	if _, err := s.cluster.Kubectl(t.Context(), "patch", "scaledobject", o.GetName(), "-n", o.GetNamespace(), "--subresource=status", "--type=merge", "-p", cooled); err != nil {
		t.Fatal(err)
	}
	awaitScale(t, s.cluster, target, 0, patience)
	if got, want := maxReplicas(o), int64(20); got != want {
		t.Errorf("maxReplicaCount is %d, want %d", got, want)
	}
}

func keepsReplicasWhilePaused(t *testing.T, s *site) {
	s.intensity(t, cleanIntensity)
	o := impatient(s, "web", siteTrigger(s, "handler", "pause"))
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	awaitScale(t, s.cluster, target, 5, patience)
	s.intensity(t, dirtyIntensity)
	awaitNoAutoscaler(t, s, o)
	awaitObject(t, s.cluster, o, wantAnnotation(o, "autoscaling.keda.sh/paused", "true"))
	keepsScale(t, s.cluster, target, 5)
	s.intensity(t, cleanIntensity)
	awaitCeiling(t, s.cluster, o, 5)
	awaitObject(t, s.cluster, o, wantAnnotation(o, "autoscaling.keda.sh/paused", ""))
	keepsScale(t, s.cluster, target, 5)
}

// tellsOfPauses comes when all is quiet: Gridlatch writes no more than two Events a second.
func tellsOfPauses(t *testing.T, stage *triggerStage) {
	t.Helper()
	s := stage.site(t)
	s.intensity(t, dirtyIntensity)
	o := impatient(s, "web", siteTrigger(s, "handler", "pause"))
	put(t, s, o)
	awaitEventSaying(t, s.cluster, o, ceiling.EventTriggerPaused, "dirty")
	s.intensity(t, cleanIntensity)
	awaitEventSaying(t, s.cluster, o, ceiling.EventTriggerResumed, "clean")
}

func awaitNoAutoscaler(t *testing.T, s *site, o client.Object) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := s.cluster.Client.Get(ctx, hpaKey(o), &autoscalingv2.HorizontalPodAutoscaler{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the autoscaler: %v, want none", err) //nolint:errorlint // often nil
		}
		return nil
	})
}

// leavesAUsersPause has a pause of Gridlatch's beside that of the user come and go.
func leavesAUsersPause(t *testing.T, s *site) {
	const key = "autoscaling.keda.sh/paused"
	s.intensity(t, cleanIntensity)
	o, neighbour := impatient(s, "web", siteTrigger(s, "handler", "pause")), impatient(s, "neighbour", siteTrigger(s, "handler", "pause"))
	o.SetAnnotations(map[string]string{key: "true"})
	put(t, s, o)
	put(t, s, neighbour)
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(neighbour), 5, patience)
	s.intensity(t, dirtyIntensity)
	awaitObject(t, s.cluster, neighbour, wantAnnotation(neighbour, key, "true"))
	s.intensity(t, cleanIntensity)
	awaitObject(t, s.cluster, neighbour, wantAnnotation(neighbour, key, ""))
	stays(t, s.cluster, o, steadyFor, wantAnnotation(o, key, "true"))
}

// capsBesideOthers has a trigger beside it whose load is 3 all the time.
func capsBesideOthers(t *testing.T, s *site) {
	s.intensity(t, cleanIntensity)
	o := impatient(s, "web", env.LoadTrigger(loadServer(t, 3)), siteTrigger(s))
	o.Object["spec"].(map[string]any)["minReplicaCount"] = int64(1)
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	awaitTypes(t, s.cluster, o, "metrics-api", "external-push")
	awaitScale(t, s.cluster, target, 3, patience)
	keepsScale(t, s.cluster, target, 3) // a clean grid is no load
	s.intensity(t, dirtyIntensity)
	awaitScale(t, s.cluster, target, 1, patience)
	awaitCeiling(t, s.cluster, o, 1)
	s.intensity(t, cleanIntensity)
	awaitScale(t, s.cluster, target, 3, patience)
	awaitMax(t, s.cluster, o, 5)
}

// followsTheOwnersTriggers has the owner write the whole list anew, as every tool does.
func followsTheOwnersTriggers(t *testing.T, s *site) {
	s.intensity(t, cleanIntensity)
	o := impatient(s, "web", siteTrigger(s))
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	awaitScale(t, s.cluster, target, 5, patience)
	setTriggers(o, siteTrigger(s), env.LoadTrigger(loadServer(t, 2)))
	amend(t, s.cluster, o, patchOfTriggers(t, o))
	awaitScale(t, s.cluster, target, 2, patience)
	setTriggers(o, siteTrigger(s))
	amend(t, s.cluster, o, patchOfTriggers(t, o))
	awaitScale(t, s.cluster, target, 5, patience)
	setTriggers(o, env.LoadTrigger(loadServer(t, 1)))
	amend(t, s.cluster, o, patchOfTriggers(t, o))
	awaitScale(t, s.cluster, target, 1, patience)
	s.intensity(t, dirtyIntensity)
	keepsScale(t, s.cluster, target, 1)
	awaitUntouched(t, s.cluster, o)
}

func startsJobsWhileClean(t *testing.T, s *site) {
	s.intensity(t, dirtyIntensity)
	o := env.ScaledJob(s.name, "batch", 0, 3, true)
	setTriggers(o, siteTrigger(s))
	create(t, s.cluster, o)
	awaitObject(t, s.cluster, o, wantReady(o, "True"))
	time.Sleep(steadyFor)
	if jobs, err := jobsOf(t.Context(), s.cluster, o); err != nil || len(jobs) > 0 {
		t.Fatalf("while the grid is dirty there are the Jobs %q, %v", jobs, err)
	}
	s.intensity(t, cleanIntensity)
	jobs := awaitScaled(t, s.cluster, o, 3)
	s.intensity(t, dirtyIntensity)
	expectJobs(t, s.cluster, o, jobs)
}

// pausesJobsOfOthers has a trigger beside it that wants three Jobs all the time.
func pausesJobsOfOthers(t *testing.T, s *site) {
	s.intensity(t, dirtyIntensity)
	o := env.ScaledJob(s.name, "batch", 2, 3, true)
	o.Object["spec"].(map[string]any)["triggers"] = append(triggersOf(o), siteTrigger(s))
	create(t, s.cluster, o)
	awaitTypes(t, s.cluster, o, "cron", "external")
	awaitObject(t, s.cluster, o, wantAnnotation(o, "autoscaling.keda.sh/paused", "true"))
	time.Sleep(time.Second) // KEDA may have begun before the pause
	before, err := jobsOf(t.Context(), s.cluster, o)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(steadyFor)
	if jobs, err := jobsOf(t.Context(), s.cluster, o); err != nil || len(jobs) > len(before) {
		t.Fatalf("while the grid is dirty there are the Jobs %q after %q, %v", jobs, before, err)
	}
	s.intensity(t, cleanIntensity)
	awaitObject(t, s.cluster, o, wantAnnotation(o, "autoscaling.keda.sh/paused", ""))
	awaitScaled(t, s.cluster, o, 2)
}

func risesByDegrees(t *testing.T, s *site) {
	s.intensity(t, dirtyIntensity)
	o := impatient(s, "web", siteTrigger(s, "gradual", "true", "gradualUpTo", "400"))
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	for _, step := range []struct {
		intensity float64
		want      int32
	}{{300, 3}, {240, 4}, {cleanIntensity, 5}, {dirtyIntensity, 0}} {
		s.intensity(t, step.intensity)
		awaitScale(t, s.cluster, target, step.want, patience)
	}
}

// runsInTheCleanestHours makes the hour now, and the next one, the cleanest of the day, and then the dirtiest.
func runsInTheCleanestHours(t *testing.T, s *site) {
	day := func(now float64) {
		hour := time.Now().UTC().Truncate(time.Hour)
		elements := env.Elements(s.name, hour.Add(-24*time.Hour), time.Hour, slicesOf(24, 300)...)
		elements = append(elements, env.Elements(s.name, hour, time.Hour, now, now)...)
		elements = append(elements, env.Elements(s.name, hour.Add(2*time.Hour), time.Hour, slicesOf(24, 300)...)...)
		s.grid.write(t, s.name, elements...)
	}
	day(250) // above the threshold of the others
	o := impatient(s, "web", siteTrigger(s, "emissionThreshold", "", "mode", "planned", "cleanHoursPerDay", "2"))
	put(t, s, o)
	target := client.ObjectKeyFromObject(o)
	awaitScale(t, s.cluster, target, 5, patience)
	day(350)
	awaitScale(t, s.cluster, target, 0, patience)
}

func slicesOf(n int, value float64) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = value
	}
	return values
}

// staysCleanWithinTheHysteresis has 210 gCO2eq/kWh come from below, and from above.
func staysCleanWithinTheHysteresis(t *testing.T, s *site) {
	from := func(before float64) {
		hour := time.Now().Add(-2 * time.Hour)
		s.grid.write(t, s.name, append(env.Elements(s.name, hour, time.Hour, before), env.Elements(s.name, hour.Add(time.Hour), 6*time.Hour, 210)...)...)
	}
	from(150)
	o := impatient(s, "web", siteTrigger(s, "hysteresisPercent", "10"))
	put(t, s, o)
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(o), 5, patience)
	from(300)
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(o), 0, patience)
}

func isCleanWhereNothingIsKnown(t *testing.T, s *site) {
	o := impatient(s, "web", siteTrigger(s))
	put(t, s, o)
	awaitScale(t, s.cluster, client.ObjectKeyFromObject(o), 5, patience)
	awaitWarning(t, s, o, ceiling.EventTriggerUnknown, "")
}

func refusesBadMetadata(t *testing.T, s *site) {
	s.intensity(t, cleanIntensity)
	for name, tt := range map[string]struct {
		metadata map[string]any
		want     string
	}{
		"no number":    {map[string]any{"policy": s.name, "emissionThreshold": "low"}, "spec.triggers[0].metadata.emissionThreshold"},
		"no threshold": {map[string]any{"policy": s.name}, "spec.triggers[0].metadata.emissionThreshold"},
		"handler":      {map[string]any{"policy": s.name, "emissionThreshold": "200", "handler": "stop"}, "spec.triggers[0].metadata.handler"},
		"region":       {map[string]any{"policy": s.name, "emissionThreshold": "200", "region": "atlantis"}, "spec.triggers[0].metadata.region"},
		"policy":       {map[string]any{"policy": "nobodys", "emissionThreshold": "200"}, "spec.triggers[0].metadata.policy"},
		"a typo":       {map[string]any{"policy": s.name, "emissionTreshold": "200"}, "emissionTreshold"},
		"unquoted":     {map[string]any{"policy": s.name, "emissionThreshold": int64(200)}, "spec.triggers[0].metadata.emissionThreshold"},
	} {
		o := impatient(s, "web", map[string]any{"type": "carbon-intensity", "metadata": tt.metadata})
		err := s.cluster.Client.Create(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %s", name, err, tt.want)
		}
		if err == nil {
			awaitNothingElse(t, s, o)
		}
		t.Logf("%s: %v", name, err)
	}
}

// awaitNothingElse deletes an object that should not have been created.
func awaitNothingElse(t *testing.T, s *site, o client.Object) {
	t.Helper()
	if err := s.cluster.Client.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, s.cluster, o)
}

// leavesTheExplicitForm has the owner name the scaler.
func leavesTheExplicitForm(t *testing.T, stage *triggerStage) {
	s := stage.site(t)
	s.intensity(t, dirtyIntensity)
	own := siteTrigger(s, "scalerAddress", stage.address(), "enableTLS", "true")
	own["type"], own["authenticationRef"] = "external-push", map[string]any{"kind": "ClusterTriggerAuthentication", "name": "gridlatch"}
	o := impatient(s, "web", own)
	put(t, s, o)
	written := triggersOf(o)
	target := client.ObjectKeyFromObject(o)
	s.intensity(t, cleanIntensity)
	awaitScale(t, s.cluster, target, 5, patience)
	s.intensity(t, dirtyIntensity)
	awaitScale(t, s.cluster, target, 0, patience)
	awaitObject(t, s.cluster, o, func() error { return nil })
	if diff := cmp.Diff(written, triggersOf(o)); diff != "" {
		t.Errorf("the owner's trigger has been changed: %s", diff)
	}
}
