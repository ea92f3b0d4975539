package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

// gridLabel says on a node of these tests in which location it is.
const gridLabel = "example.com/grid"

// spaciousCluster is one of two nodes in each of north and south. Its default
// policy knows a third location, void, that has no nodes.
func spaciousCluster(t *testing.T) *env.Cluster {
	t.Helper()
	c := env.Start(t, env.Nodes(4), env.NodeLabels(gridLabel+"=north:south"))
	if err := v1alpha1.AddToScheme(c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	c.Gridlatch(t)
	create(t, c, spacious("default", "void", "north", "south"))
	return c
}

// spacious is a policy of locations with nodes.
func spacious(name string, locations ...string) *v1alpha1.CarbonPolicy {
	p := v1alpha1.Default()
	p.Name = name
	for _, l := range locations {
		p.Spec.Locations = append(p.Spec.Locations, v1alpha1.Location{Name: l, NodeSelector: map[string]string{gridLabel: l}})
	}
	return p
}

// slots are intensities one after the other; the last goes on for hours.
type slots []struct {
	lasts     time.Duration
	intensity float64
}

// forecasts writes what is expected of each location from now on, and waits until
// the controller plans by it. The void is always the cleanest.
func forecasts(t *testing.T, c *env.Cluster, north, south slots) {
	t.Helper()
	start := time.Now().Truncate(time.Second)
	elements := env.Elements("void", start.Add(-time.Minute), 9*time.Hour, 10)
	for name, all := range map[string]slots{"north": north, "south": south} {
		at := start.Add(-time.Minute)
		end := start
		for i, s := range all {
			end = end.Add(s.lasts)
			if i == len(all)-1 {
				end = start.Add(9 * time.Hour)
			}
			elements = append(elements, env.Elements(name, at, end.Sub(at), s.intensity)...)
			at = end
		}
	}
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		var p v1alpha1.CarbonPolicy
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, &p); err != nil {
			return err
		}
		told := map[string]int32{}
		for _, l := range p.Status.Locations {
			if l.Intensity != nil {
				told[l.Name] = *l.Intensity
			}
		}
		if told["north"] != int32(north[0].intensity) || told["south"] != int32(south[0].intensity) {
			return fmt.Errorf("the controller knows %v", told)
		}
		return nil
	})
}

// grids returns the location of each node.
func grids(t *testing.T, c *env.Cluster) map[string]string {
	t.Helper()
	var nodes corev1.NodeList
	if err := c.Client.List(t.Context(), &nodes); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, n := range nodes.Items {
		at[n.Name] = n.Labels[gridLabel]
	}
	return at
}

// wantPlaced fails if a pod is not where it was to be, or was not sent there.
func wantPlaced(t *testing.T, c *env.Cluster, p corev1.Pod, where string) {
	t.Helper()
	if got := grids(t, c)[p.Spec.NodeName]; got != where || p.Annotations[v1alpha1.PlannedLocationAnnotation] != where {
		t.Errorf("%s: runs in %s, planned for %s, want %s: %s", p.Name, got, p.Annotations[v1alpha1.PlannedLocationAnnotation], where, p.Annotations[v1alpha1.ReasonAnnotation])
	}
	want := corev1.PreferredSchedulingTerm{Weight: 100, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: gridLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{where}}},
	}}
	ours := 0
	for _, term := range policy.Preferences(&p.Spec) {
		if term.Weight == 100 {
			ours++
		}
	}
	if !policy.HasPreference(&p.Spec, want) || ours != 1 {
		t.Errorf("%s: prefers %+v, want once %+v", p.Name, policy.Preferences(&p.Spec), want)
	}
}

func TestWorkRunsWhereAndWhenItIsCleanest(t *testing.T) {
	t.Parallel()
	c := spaciousCluster(t)
	for name, test := range map[string]func(*testing.T, *env.Cluster){
		"later, in another location":             laterElsewhere,
		"now, if no time in any is cleaner":      nowWhereItIsCleanest,
		"a Job that is suspended while it waits": suspendedElsewhere,
		"where there is room below the ceilings": spillsOver,
		"where there are nodes":                  nodesComeAndGo,
		"wherever, if its policy has no choice":  nothingToChoose,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

func laterElsewhere(t *testing.T, c *env.Cluster) {
	forecasts(t, c, slots{{10 * time.Second, 430}, {4 * time.Second, 120}, {0, 430}}, slots{{14 * time.Second, 300}, {4 * time.Second, 200}, {0, 300}})
	ns := namespace(t, c)
	picky, pinned, southern := pod(ns, "picky", tolerant()), pod(ns, "pinned", tolerant(v1alpha1.LocationAnnotation, "south")), pod(ns, "southern", tolerant())
	own := corev1.PreferredSchedulingTerm{Weight: 3, Preference: corev1.NodeSelectorTerm{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/arch", Operator: corev1.NodeSelectorOpIn, Values: []string{"amd64"}}},
	}}
	picky.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{own}}}
	southern.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "linux", gridLabel: "south"}
	create(t, c, job(ns, "report", tolerant(), 2), picky, pinned, southern)
	for _, p := range awaitGated(t, c, ns, 5) {
		want := map[string]string{"pinned": "south", "southern": "south"}[p.Name]
		if want == "" {
			want = "north"
		}
		if got := p.Annotations[v1alpha1.PlannedLocationAnnotation]; got != want {
			t.Errorf("%s is planned for %s, want %s: %s", p.Name, got, want, p.Annotations[v1alpha1.ReasonAnnotation])
		}
		if only := p.Annotations[v1alpha1.CandidateLocationsAnnotation]; (only != "") != (p.Name == "southern") {
			t.Errorf("%s may run in %q", p.Name, only)
		}
	}
	if got, want := picky.Annotations[v1alpha1.ReasonAnnotation], "120 gCO2eq/kWh in north, 60 % less than the 300 in south at"; !strings.Contains(got, want) {
		t.Errorf("reason %q, want %q in it", got, want)
	}
	if got, want := southern.Annotations[v1alpha1.ReasonAnnotation], "200 gCO2eq/kWh in south, 33 % less than the 300 at"; !strings.Contains(got, want) {
		t.Errorf("reason %q, want %q in it", got, want)
	}
	for _, p := range awaitScheduled(t, c, ns, 5, 20*time.Second+patience) {
		switch p.Name {
		case "pinned", "southern":
			wantPlaced(t, c, p, "south")
		case "picky":
			if diff := cmp.Diff(own, policy.Preferences(&p.Spec)[0]); diff != "" {
				t.Error("its own preference is gone", diff)
			}
			fallthrough
		default:
			wantPlaced(t, c, p, "north")
		}
	}
}

func nowWhereItIsCleanest(t *testing.T, c *env.Cluster) {
	forecasts(t, c, slots{{time.Hour, 300}, {0, 400}}, slots{{time.Hour, 100}, {0, 400}})
	ns := namespace(t, c)
	create(t, c, job(ns, "report", tolerant(), 2), pod(ns, "bare", tolerant()), pod(ns, "ordinary", nil))
	for _, p := range awaitScheduled(t, c, ns, 4, patience) {
		if p.Name == "ordinary" {
			if p.Spec.Affinity != nil || len(p.Annotations) > 0 {
				t.Errorf("an ordinary pod was touched: %+v, %v", p.Spec.Affinity, p.Annotations)
			}
			continue
		}
		wantPlaced(t, c, p, "south")
	}
}

func suspendedElsewhere(t *testing.T, c *env.Cluster) {
	forecasts(t, c, slots{{0, 300}}, slots{{time.Minute, 430}, {time.Minute, 120}, {0, 430}})
	ns := namespace(t, c)
	quiet := suspending(ns, "quiet")
	create(t, c, quiet)
	if got := quiet.Annotations[v1alpha1.PlannedLocationAnnotation]; got != "south" {
		t.Errorf("planned for %q: %s", got, quiet.Annotations[v1alpha1.ReasonAnnotation])
	}
	forecasts(t, c, slots{{8 * time.Second, 430}, {20 * time.Second, 120}, {0, 430}}, slots{{0, 300}})
	for _, p := range awaitScheduled(t, c, ns, 3, 8*time.Second+patience) {
		wantPlaced(t, c, p, "north")
	}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(quiet), quiet); err != nil {
		t.Fatal(err)
	}
	for of, annotations := range map[string]map[string]string{"Job": quiet.Annotations, "template": quiet.Spec.Template.Annotations} {
		if got := annotations[v1alpha1.PlannedLocationAnnotation]; got != "north" {
			t.Errorf("the %s says %q", of, got)
		}
	}
}

func spillsOver(t *testing.T, c *env.Cluster) {
	limited := spacious("limited", "north", "south")
	limited.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr(int32(200)), Ceiling: 2}, {UpTo: ptr(int32(1000)), Ceiling: 0}}
	create(t, c, limited)
	forecasts(t, c, slots{{time.Hour, 100}, {0, 400}}, slots{{time.Hour, 150}, {0, 400}})
	ns := namespace(t, c)
	for i := range 5 {
		j := work(ns, fmt.Sprint("job-", i), 1800, 1) // and no place is free again before they have to start
		j.GetAnnotations()[v1alpha1.PolicyAnnotation], j.GetAnnotations()[v1alpha1.DeadlineAnnotation] = "limited", "50m"
		create(t, c, j)
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		running, over, err := runningNow(ctx, c, ns)
		if err == nil && (running != 4 || over > 0) {
			err = fmt.Errorf("%d run and %d are over, want 4", running, over)
		}
		return err
	})
	env.Eventually(t, patience, func(ctx context.Context) error {
		var p v1alpha1.CarbonPolicy
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(limited), &p); err != nil {
			return err
		}
		for _, l := range p.Status.Locations {
			if l.Ceiling == nil || *l.Ceiling != 2 || l.Running == nil || *l.Running != 2 {
				return fmt.Errorf("status: %+v", p.Status.Locations)
			}
		}
		return nil
	})
	pods, err := podsOf(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for _, p := range pods {
		if hold.HasGate(p.Spec.SchedulingGates) {
			at["waits"]++
			continue
		}
		wantPlaced(t, c, p, p.Annotations[v1alpha1.PlannedLocationAnnotation])
		at[p.Annotations[v1alpha1.PlannedLocationAnnotation]]++
	}
	if diff := cmp.Diff(map[string]int{"north": 2, "south": 2, "waits": 1}, at); diff != "" {
		t.Error(diff)
	}
}

func nodesComeAndGo(t *testing.T, c *env.Cluster) {
	forecasts(t, c, slots{{3 * time.Minute, 430}, {time.Minute, 120}, {0, 430}}, slots{{4 * time.Minute, 300}, {time.Minute, 200}, {0, 300}})
	ns := namespace(t, c)
	create(t, c, pod(ns, "bare", tolerant()))
	awaitPlanned := func(want string) {
		t.Helper()
		env.Eventually(t, patience, func(ctx context.Context) error {
			var p corev1.Pod
			err := c.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "bare"}, &p)
			if got := p.Annotations[v1alpha1.PlannedLocationAnnotation]; err == nil && got != want {
				err = fmt.Errorf("planned for %s, want %s: %s", got, want, p.Annotations[v1alpha1.ReasonAnnotation])
			}
			return err
		})
	}
	relabel := func(grid string, nodes ...string) {
		t.Helper()
		for _, name := range nodes {
			setNode(t, c, name, "labels", gridLabel, grid)
		}
	}
	awaitPlanned("north")
	relabel("south", "node-0", "node-2")
	awaitPlanned("south")
	relabel("north", "node-0", "node-2")
	awaitPlanned("north")
	setNode(t, c, "node-1", "annotations", v1alpha1.PowerFactorKey, "0.3")
	awaitPlanned("south")
	setNode(t, c, "node-1", "annotations", v1alpha1.PowerFactorKey, "lots")
	awaitPlanned("north")
	awaitReady := func(want metav1.ConditionStatus, message string) {
		t.Helper()
		env.Eventually(t, patience, func(ctx context.Context) error {
			var p v1alpha1.CarbonPolicy
			err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, &p)
			if ready := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); err == nil &&
				(ready == nil || ready.Status != want || !strings.Contains(ready.Message, message)) {
				err = fmt.Errorf("want %s with %q: %+v", want, message, ready)
			}
			return err
		})
	}
	awaitReady(metav1.ConditionFalse, `annotation gridlatch.dev/power-factor of node node-1: "lots": want a number from 0.001 to 1000`)
	setNode(t, c, "node-1", "annotations", v1alpha1.PowerFactorKey, "")
	awaitReady(metav1.ConditionTrue, "")
}

func nothingToChoose(t *testing.T, c *env.Cluster) {
	one, unlabelled := spacious("one", "north"), spacious("unlabelled", "north", "south")
	for i := range unlabelled.Spec.Locations {
		unlabelled.Spec.Locations[i].NodeSelector = nil
	}
	create(t, c, one, unlabelled)
	forecasts(t, c, slots{{8 * time.Second, 430}, {4 * time.Second, 120}, {0, 430}}, slots{{0, 100}})
	ns := namespace(t, c)
	create(t, c, pod(ns, "one", tolerant(v1alpha1.PolicyAnnotation, "one")), pod(ns, "unlabelled", tolerant(v1alpha1.PolicyAnnotation, "unlabelled")))
	awaitGated(t, c, ns, 2) // for north, though the south is cleaner now
	for _, p := range awaitScheduled(t, c, ns, 2, 8*time.Second+patience) {
		if p.Spec.Affinity != nil || p.Annotations[v1alpha1.PlannedLocationAnnotation] != "" {
			t.Errorf("%s: affinity %+v, annotations %v", p.Name, p.Spec.Affinity, p.Annotations)
		}
		if !strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], "120 gCO2eq/kWh in north") {
			t.Errorf("reason %q", p.Annotations[v1alpha1.ReasonAnnotation])
		}
	}
}
