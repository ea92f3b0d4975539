package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/test/env"
)

// mayHoldJobSets gives Gridlatch the rights of the component jobset without the calls of its webhook.
func mayHoldJobSets(t *testing.T, c *env.Cluster) {
	t.Helper()
	name := metav1.ObjectMeta{Name: "e2e-jobsets"}
	create(t, c, &rbacv1.ClusterRole{ObjectMeta: name, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"jobset.x-k8s.io"}, Resources: []string{"jobsets"}, Verbs: []string{"get", "list", "watch", "patch"}},
		{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"get", "list", "watch"}, ResourceNames: []string{"jobsets.jobset.x-k8s.io"}},
	}}, &rbacv1.ClusterRoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: env.Namespace, Name: "gridlatch"}},
	})
}

// heldJobSet is a JobSet as the webhook leaves it: held until a time at the latest.
func heldJobSet(t *testing.T, ns, name string, latest time.Time) *unstructured.Unstructured {
	t.Helper()
	o := jobSet(t, ns, name, "suspend: true")
	o.SetLabels(map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld})
	o.SetAnnotations(tolerant(v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend, v1alpha1.PolicyAnnotation, v1alpha1.DefaultPolicy,
		v1alpha1.LatestStartAnnotation, policy.FormatTime(latest)))
	return o
}

// wantOwner says what is wrong with an owner that should be suspended, or not, in a state.
func wantOwner(o *unstructured.Unstructured, suspended bool, state string) error {
	owner, _ := hold.OwnerOf(o)
	if got := o.GetLabels()[v1alpha1.StateLabel]; owner.IsSuspended != suspended || got != state {
		return fmt.Errorf("%s suspended %t, state %q (%s)", o.GetName(), owner.IsSuspended, got, o.GetAnnotations()[v1alpha1.ReasonAnnotation])
	}
	return nil
}

func awaitOwner(t *testing.T, c *env.Cluster, o *unstructured.Unstructured, suspended bool, state string) {
	t.Helper()
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		return wantOwner(o, suspended, state)
	})
}

// TestWhatIsHeldWholeIsReleased installs JobSet and its rights while Gridlatch runs, and takes them away.
func TestWhatIsHeldWholeIsReleased(t *testing.T) {
	c, g := ownCluster(t)
	ns := namespace(t, c)
	engine, err := c.RunJobSet(t.Context(), t.TempDir()+"/jobset.log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Stop() })
	mayHoldJobSets(t, c)
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // its webhooks come after its readiness
		return c.Client.Create(ctx, heldJobSet(t, ns, "dry", time.Now()), client.DryRunAll)
	})
	clean := dirtyThenClean(t, c, time.Minute)
	latest := clean.Add(5 * time.Minute)
	first, taken, withdrawn := heldJobSet(t, ns, "first", latest), heldJobSet(t, ns, "taken", latest), heldJobSet(t, ns, "withdrawn", latest)
	byHand, unlabelled := heldJobSet(t, ns, "by-hand", latest), heldJobSet(t, ns, "unlabelled", latest)
	create(t, c, first, taken, withdrawn, byHand, unlabelled)

	// what others do meanwhile
	amend(t, c, taken, resumed)
	awaitOwner(t, c, taken, false, v1alpha1.StateReleased)
	if reason := taken.GetAnnotations()[v1alpha1.ReasonAnnotation]; reason != hold.ReasonTaken {
		t.Errorf("taken: %s", reason)
	}
	amend(t, c, withdrawn, `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":null}}}`)
	awaitOwner(t, c, withdrawn, false, v1alpha1.StateReleased)
	amend(t, c, unlabelled, `{"metadata":{"labels":{"gridlatch.dev/state":null}}}`)
	awaitOwner(t, c, unlabelled, true, v1alpha1.StateHeld) // adopted
	if pods, err := hold.Release(t.Context(), c.Client, byHand, "by hand", time.Now()); err != nil || pods != 2 {
		t.Errorf("released %d pods by hand, %v", pods, err)
	}
	awaitOwner(t, c, byHand, false, v1alpha1.StateReleased)

	// the plan, and the release at the planned start
	awaitOwner(t, c, first, true, v1alpha1.StateHeld)
	env.Eventually(t, time.Minute, func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(first), first)
		if err == nil && first.GetAnnotations()[v1alpha1.PlannedStartAnnotation] == "" {
			err = errors.New("not planned yet")
		}
		return err
	})
	awaitOwner(t, c, first, false, v1alpha1.StateReleased)
	if late := time.Since(clean); late < 0 {
		t.Errorf("released %s before it is clean", -late)
	}
	awaitOwner(t, c, unlabelled, false, v1alpha1.StateReleased)
	awaitEvent(t, c, first, v1alpha1.EventReleased)

	// a JobSet that is suspended again is its user's
	amend(t, c, first, suspended)
	dirtyThenCleanUnseen(t, c)
	awaitIntensity(t, c, 430)
	goes := heldJobSet(t, ns, "goes", time.Now().Add(time.Hour))
	create(t, c, goes)
	awaitOwner(t, c, goes, true, v1alpha1.StateHeld)
	awaitOwner(t, c, first, true, v1alpha1.StateReleased)

	// the controller dies, and the next one releases
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	last := heldJobSet(t, ns, "last", time.Now().Add(time.Second))
	create(t, c, last)
	c.Gridlatch(t)
	awaitOwner(t, c, last, false, v1alpha1.StateReleased)

	// all that is left goes without a controller
	exit := hold.Exit{Client: c.Client, Reason: "the end", Now: time.Now()}
	if pods, err := exit.ReleaseAll(t.Context()); err != nil || pods != 2 {
		t.Errorf("released %d pods in the end, %v", pods, err)
	}
	awaitOwner(t, c, goes, false, v1alpha1.StateReleased)
}
