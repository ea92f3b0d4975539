package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/nodegroup"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/test/env"
)

const (
	northFirst = "100:\n- \"^north-\"\n51:\n- \"^south-\"\n1:\n- \".*\"\n"
	southFirst = "100:\n- \"^south-\"\n51:\n- \"^north-\"\n1:\n- \".*\"\n"
)

// prioritiesIn is the ConfigMap of a Cluster Autoscaler.
func prioritiesIn(ns string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: v1alpha1.PrioritiesConfigMap}, Data: data}
}

// groupPolicy makes a policy that ranks the node groups of two regions.
func groupPolicy(name, ns string) *v1alpha1.CarbonPolicy {
	p := env.RegionalPolicy("north", "south")
	p.Name = name
	p.Spec.ClusterAutoscaler = &v1alpha1.ClusterAutoscaler{Namespace: ns, NodeGroups: []v1alpha1.NodeGroup{
		{Pattern: "^north-", Location: "north"}, {Pattern: "^south-", Location: "south"},
	}}
	return p
}

// awaitPriorities waits until a ConfigMap has priorities.
func awaitPriorities(t *testing.T, c *env.Cluster, ns, want string) {
	t.Helper()
	o := prioritiesIn(ns, nil)
	awaitObject(t, c, o, func() error {
		if diff := cmp.Diff(want, o.Data["priorities"]); diff != "" {
			return fmt.Errorf("%s; annotations: %v", diff, o.Annotations)
		}
		return nil
	})
}

// awaitOwn waits until nothing on a ConfigMap is Gridlatch's.
func awaitOwn(t *testing.T, c *env.Cluster, ns string, data map[string]string, allowed ...string) {
	t.Helper()
	o := prioritiesIn(ns, nil)
	awaitObject(t, c, o, func() error {
		if diff := cmp.Diff(data, o.Data); diff != "" {
			return errors.New(diff)
		}
		for key := range o.Annotations {
			if strings.HasPrefix(key, v1alpha1.Prefix) && !slices.Contains(allowed, key) {
				return fmt.Errorf("annotations left: %v", o.Annotations)
			}
		}
		for _, e := range o.ManagedFields {
			if e.Manager == override.Manager {
				return fmt.Errorf("%s owns %s", e.Manager, e.FieldsV1)
			}
		}
		return nil
	})
}

func awaitNoPriorities(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(prioritiesIn(ns, nil)), &corev1.ConfigMap{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the ConfigMap is still there: %w", err)
		}
		return nil
	})
}

// TestNodeGroupsFollowTheGrid writes what Cluster Autoscaler reads. Nobody runs Cluster Autoscaler.
func TestNodeGroupsFollowTheGrid(t *testing.T) {
	t.Parallel()
	c := emptyCluster(t)
	g := &grid{cluster: c}
	g.set(t, "north", 100)
	g.set(t, "south", 400)
	t.Run("Make", func(t *testing.T) { makesPriorities(t, c, g) })
	t.Run("Lend", func(t *testing.T) { lendsPriorities(t, c, g) })
	t.Run("LeaveAlone", func(t *testing.T) { leavesPrioritiesAlone(t, c) })
	t.Run("Confine", func(t *testing.T) { confinesPriorities(t, c) })
}

// makesPriorities has no ConfigMap at first.
func makesPriorities(t *testing.T, c *env.Cluster, g *grid) {
	const ns = "kube-system"
	p := groupPolicy("groups", "")
	create(t, c, p)
	awaitPriorities(t, c, ns, northFirst)
	second := groupPolicy("later", ns)
	create(t, c, second)
	awaitObject(t, c, second, func() error {
		for _, condition := range second.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == metav1.ConditionFalse && strings.Contains(condition.Message, "CarbonPolicy groups names this namespace") {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", second.Status.Conditions)
	})
	g.set(t, "north", 600)
	awaitPriorities(t, c, ns, southFirst)
	o := prioritiesIn(ns, nil)
	stays(t, c, o, 3*time.Second, versionStays(o))

	if err := c.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	awaitObject(t, c, o, func() error {
		if by := o.Annotations[v1alpha1.PrioritiesByAnnotation]; by != "CarbonPolicy/later" {
			return fmt.Errorf("set by %s", by)
		}
		return nil
	})
	if said := releaseAll(t, c); !strings.Contains(said, "gave 1 ConfigMaps of Cluster Autoscaler their priorities back") {
		t.Errorf("said %q", said)
	}
	awaitNoPriorities(t, c, ns)
	g.set(t, "north", 100)
	time.Sleep(2 * time.Second)
	awaitNoPriorities(t, c, ns)
	if err := c.Client.Delete(t.Context(), second); err != nil {
		t.Fatal(err)
	}
}

// versionStays says that an object changes.
func versionStays(o client.Object) func() error {
	before := ""
	return func() error {
		if before == "" {
			before = o.GetResourceVersion()
		}
		if o.GetResourceVersion() != before {
			return fmt.Errorf("the ConfigMap changes although nothing else does: %v", o)
		}
		return nil
	}
}

// lendsPriorities has a ConfigMap of the owner, in a namespace in which Gridlatch may make none.
func lendsPriorities(t *testing.T, c *env.Cluster, g *grid) {
	ns := namespace(t, c)
	p := groupPolicy("groups", ns)
	create(t, c, p)
	env.Eventually(t, patience, func(ctx context.Context) error {
		var list corev1.EventList
		if err := c.Client.List(ctx, &list, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.InvolvedObject.Name == v1alpha1.PrioritiesConfigMap && e.Reason == nodegroup.EventFailed && strings.Contains(e.Message, "forbidden") {
				return nil
			}
		}
		return fmt.Errorf("no Event says that Gridlatch may make no ConfigMap: %v", list.Items)
	})
	own := map[string]string{"priorities": "10: [.*]\n", "other": "key"}
	create(t, c, prioritiesIn(ns, own))
	awaitPriorities(t, c, ns, northFirst)
	g.set(t, "north", 600)
	awaitPriorities(t, c, ns, southFirst)

	// The owner has the same value as Gridlatch, and then another one.
	o := prioritiesIn(ns, nil)
	amend(t, c, o, fmt.Sprintf(`{"data":{"priorities":%q}}`, "7: [spot]"))
	awaitPriorities(t, c, ns, southFirst)
	own["priorities"] = "7: [spot]"
	if err := c.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	awaitOwn(t, c, ns, own)

	create(t, c, groupPolicy("groups", ns))
	awaitPriorities(t, c, ns, southFirst)
	releaseAll(t, c)
	awaitOwn(t, c, ns, own, v1alpha1.PrioritiesReleasedAnnotation)
	stays(t, c, o, 2*time.Second, versionStays(o))
}

// leavesPrioritiesAlone has priorities that nobody can change, or that no annotation can remember.
func leavesPrioritiesAlone(t *testing.T, c *env.Cluster) {
	isImmutable := true
	immutable, long := prioritiesIn("", map[string]string{"priorities": "10: [.*]\n"}), prioritiesIn("", map[string]string{"priorities": strings.Repeat("#", 300<<10)})
	immutable.Immutable = &isImmutable
	for name, o := range map[string]*corev1.ConfigMap{"immutable": immutable, "long": long} {
		o.Namespace = namespace(t, c)
		own := o.Data["priorities"]
		create(t, c, o)
		create(t, c, groupPolicy(name, o.Namespace))
		awaitObject(t, c, o, func() error {
			if reason := o.Annotations[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "no order: the ConfigMap") || !strings.Contains(reason, name) {
				return fmt.Errorf("reason %q", reason)
			}
			return nil
		})
		stays(t, c, o, 2*time.Second, versionStays(o))
		if o.Data["priorities"] != own {
			t.Errorf("%s: the priorities have changed", name)
		}
	}
}

// confinesPriorities has Gridlatch write more than it may.
func confinesPriorities(t *testing.T, c *env.Cluster) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(filepath.Dir(c.Kubeconfig), "gridlatch.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	gridlatch, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	o := prioritiesIn(ns, map[string]string{"other": "key"})
	create(t, c, o)
	for name, patch := range map[string]string{
		"another key": `{"data":{"other":"x"}}`, "a new key": `{"data":{"new":"x"}}`, "a key that goes": `{"data":{"other":null}}`, "binary": `{"binaryData":{"b":"eA=="}}`,
	} {
		err := gridlatch.Patch(t.Context(), o.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch)))
		if err == nil || !strings.Contains(err.Error(), "Gridlatch may write priorities only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := gridlatch.Delete(t.Context(), o); err == nil || !strings.Contains(err.Error(), "only those that it has made") {
		t.Errorf("delete: %v", err)
	}
	if err := gridlatch.Patch(t.Context(), o.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"data":{"priorities":"1: [x]"}}`))); err != nil {
		t.Error(err)
	}
	other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "other"}}
	if err := gridlatch.Create(t.Context(), other); err == nil || !strings.Contains(err.Error(), "Gridlatch may write and delete ConfigMaps with a history") {
		t.Errorf("create another: %v", err)
	}
}
