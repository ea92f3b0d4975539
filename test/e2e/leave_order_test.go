package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/trigger"
)

// leavingComponents are the components that the tests of leaving install.
var leavingComponents = []string{"keda", "jobset", "cluster-autoscaler"}

// leaveSite is an installation with simulated pods of its Deployment, the program beside the cluster, and
// held work of each kind.
type leaveSite struct {
	c           *env.Cluster
	port        int
	log         string
	controllers []*env.Controller
	ns          string
	scaled      *unstructured.Unstructured
	carbon      *unstructured.Unstructured // with the trigger carbon-intensity
	jobSet      *unstructured.Unstructured
}

// newLeaveSite starts a cluster with all kinds that the tests of leaving hold.
func newLeaveSite(t *testing.T) *leaveSite {
	t.Helper()
	t.Parallel()
	s := &leaveSite{c: env.Start(t, env.Nodes(2)), log: filepath.Join(t.TempDir(), "log")}
	if err := v1alpha1.AddToScheme(s.c.Client.Scheme()); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.port, err = env.ReservePort(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.c.InstallKEDA(t.Context()), s.c.DefineDoors(t.Context())); err != nil {
		t.Fatal(err)
	}
	return s
}

// start installs Gridlatch, and returns when replicas of it run and the first one holds work.
func (s *leaveSite) start(t *testing.T, replicas int) {
	t.Helper()
	if err := s.c.InstallWithDeployment(t.Context(), s.port, leavingComponents...); err != nil {
		t.Fatal(err)
	}
	s.controllers = nil
	for range replicas {
		port := s.port
		if len(s.controllers) > 0 {
			var err error
			if port, err = env.ReservePort(); err != nil {
				t.Fatal(err)
			}
		}
		scaler, err := env.ReservePort()
		if err != nil {
			t.Fatal(err)
		}
		g, err := s.c.RunController(t.Context(), port, s.log, "--deployment=gridlatch",
			fmt.Sprintf("--scaler-bind-address=127.0.0.1:%d", scaler), "--scaler-address=localhost:9446")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() && len(s.controllers) > 0 && g == s.controllers[len(s.controllers)-1] {
				t.Log(g.Log())
			}
			_ = g.Kill() // most have ended
		})
		s.controllers = append(s.controllers, g)
	}
	if err := s.c.AwaitWebhook(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitAnchored(t)
}

// anchorsOf are all anchors of the site, as kubectl names them.
func anchorsOf() []string {
	names := []string{"serviceaccount/gridlatch", "role/gridlatch", "rolebinding/gridlatch", "clusterrole/gridlatch", "clusterrolebinding/gridlatch"}
	for _, component := range leavingComponents {
		names = append(names, "clusterrole/gridlatch-"+component, "clusterrolebinding/gridlatch-"+component)
	}
	return names
}

// awaitAnchored waits until the leader has put its finalizer on every anchor.
func (s *leaveSite) awaitAnchored(t *testing.T) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		args := append([]string{"get", "-n", env.Namespace, "-o", "jsonpath={range .items[*]}{.metadata.finalizers}{end}"}, anchorsOf()...)
		printed, err := s.c.Kubectl(ctx, args...)
		if got := strings.Count(printed, v1alpha1.ReleaseFinalizer); err == nil && got != len(anchorsOf()) {
			err = fmt.Errorf("%d of %d anchors have the finalizer", got, len(anchorsOf()))
		}
		return err
	})
}

// hold creates work of each kind, and returns when all of it is held.
func (s *leaveSite) hold(t *testing.T) {
	t.Helper()
	dirtyThenCleanUnseen(t, s.c)
	s.ns = namespace(t, s.c)
	s.scaled = env.ScaledObject(s.ns, "scaled", 0, 10)
	s.scaled.SetAnnotations(map[string]string{v1alpha1.CeilingsAnnotation: "200=20,350=5,*=1"})
	create(t, s.c, env.Deployment(s.ns, "scaled"), s.scaled)
	s.carbon = env.ScaledObject(s.ns, "carbon", 0, 10)
	setTriggers(s.carbon, writtenTrigger())
	create(t, s.c, s.carbon)
	s.jobSet = jobSet(t, s.ns, "whole", "suspend: false")
	s.jobSet.SetAnnotations(tolerant())
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // the rights to the kind are noticed later
		o := s.jobSet.DeepCopy()
		if err := s.c.Client.Create(ctx, o); err != nil {
			return err
		}
		err := wantOwner(o, true, v1alpha1.StateHeld)
		if err != nil {
			err = errors.Join(err, s.c.Client.Delete(ctx, o))
		}
		return err
	})
	groups := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "groups"}}
	groups.Spec.ClusterAutoscaler = &v1alpha1.ClusterAutoscaler{NodeGroups: []v1alpha1.NodeGroup{{Pattern: "arm64", PowerFactor: "0.6"}, {Pattern: "amd64"}}}
	create(t, s.c, groups)
	awaitPriorities(t, s.c, v1alpha1.DefaultAutoscalerNamespace, "100:\n- \"arm64\"\n51:\n- \"amd64\"\n1:\n- \".*\"\n")
	create(t, s.c, pod(s.ns, "bare", tolerant()), job(s.ns, "gated", tolerant(), 2), suspending(s.ns, "suspended"))
	awaitGated(t, s.c, s.ns, 3)
	awaitMax(t, s.c, s.scaled, 1)
	awaitTypes(t, s.c, s.carbon, "external-push")
}

// writtenTrigger is the trigger as its owner has written it.
func writtenTrigger() map[string]any {
	return map[string]any{"type": trigger.Type, "metadata": map[string]any{"emissionThreshold": threshold, "handler": "pause"}}
}

// awaitReleased waits until nothing is held or lent any more.
func (s *leaveSite) awaitReleased(t *testing.T, timeout time.Duration) {
	t.Helper()
	env.Eventually(t, timeout, func(ctx context.Context) error { return s.whatIsHeld(ctx) })
}

// whatIsHeld says what is still held or lent.
func (s *leaveSite) whatIsHeld(ctx context.Context) error {
	pods, err := podsOf(ctx, s.c, s.ns)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if hold.HasGate(p.Spec.SchedulingGates) {
			return fmt.Errorf("pod %s is gated", p.Name)
		}
	}
	var suspended batchv1.Job
	if err := s.c.Client.Get(ctx, client.ObjectKey{Namespace: s.ns, Name: "suspended"}, &suspended); err != nil {
		return err
	}
	if isSuspended(suspended) {
		return errors.New("a Job is suspended")
	}
	made := prioritiesIn(v1alpha1.DefaultAutoscalerNamespace, nil)
	if err := s.c.Client.Get(ctx, client.ObjectKeyFromObject(made), made); !apierrors.IsNotFound(err) {
		return fmt.Errorf("the ConfigMap of Cluster Autoscaler is there: %v, %w", made.Annotations, err)
	}
	for _, o := range []*unstructured.Unstructured{s.jobSet, s.scaled} {
		if err := s.c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
	}
	if closed, _, _ := unstructured.NestedBool(s.jobSet.Object, "spec", "suspend"); closed {
		return errors.New("a JobSet is suspended")
	}
	if got := maxReplicas(s.scaled); got != 10 {
		return fmt.Errorf("maxReplicaCount is %d, want 10", got)
	}
	if s.carbon == nil {
		return nil
	}
	if err := s.c.Client.Get(ctx, client.ObjectKeyFromObject(s.carbon), s.carbon); err != nil {
		return err
	}
	return wantTriggers(s.carbon, writtenTrigger())
}

// remove deletes everything that is left, and returns when nothing of it is there any more.
func (s *leaveSite) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	manifests, err := s.c.Kustomize(ctx, "resources: [MANIFESTS/base]\n"+env.Components(leavingComponents...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.KubectlInput(ctx, manifests, "delete", "--ignore-not-found", "--wait=false", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	for _, g := range s.controllers { // as the kubelet does: the namespace deletes the pods
		if err := g.Terminate(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.c.KubectlInput(ctx, manifests, "wait", "--for=delete", "--timeout=100s", "-f", "-"); err != nil {
		t.Errorf("something is left: %v", err)
	}
	var gone corev1.Namespace
	if err := s.c.Client.Get(ctx, client.ObjectKey{Name: env.Namespace}, &gone); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is left: %v", err)
	}
	for _, g := range s.controllers {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}
}

// deleting runs kubectl delete, and does not wait.
func deleting(args ...string) func(*testing.T, *leaveSite) {
	return func(t *testing.T, s *leaveSite) {
		t.Helper()
		if _, err := s.c.Kubectl(t.Context(), append([]string{"delete", "--wait=false", "-n", env.Namespace}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingIsLeftInWhateverOrderGridlatchIsDeleted deletes a part of the manifests first, then the rest.
func TestNothingIsLeftInWhateverOrderGridlatchIsDeleted(t *testing.T) {
	s := newLeaveSite(t)
	for _, order := range []struct {
		name  string
		first func(*testing.T, *leaveSite)
		// leaves says that Gridlatch releases everything although the rest is still there.
		leaves   bool
		replicas int // one, if zero
	}{
		{name: "all at once", first: func(*testing.T, *leaveSite) {}},
		{name: "all at once, with two replicas", replicas: 2, first: func(*testing.T, *leaveSite) {}},
		{name: "the roles first", leaves: true, first: deleting("clusterrole/gridlatch", "role/gridlatch")},
		{name: "the bindings first", leaves: true, first: deleting("clusterrolebinding/gridlatch", "rolebinding/gridlatch")},
		{name: "the ServiceAccount first", leaves: true, first: deleting("serviceaccount/gridlatch")},
		{name: "the Deployment first", leaves: true, first: deleting("deployment/gridlatch")},
		{name: "the Deployment first, with its pods left", leaves: true, first: deleting("deployment/gridlatch", "--cascade=orphan")},
		{name: "the namespace first", first: deleting("namespace", env.Namespace)},
		{name: "the webhook first", first: deleting("mutatingwebhookconfiguration/gridlatch")},
		{name: "the CustomResourceDefinition first", first: deleting("crd/carbonpolicies.gridlatch.dev")},
		{name: "the admission policies first", first: deleting("validatingadmissionpolicies", "--all")},
	} {
		t.Run(order.name, func(t *testing.T) {
			s.start(t, max(1, order.replicas))
			s.hold(t)
			order.first(t, s)
			if order.leaves {
				s.awaitReleased(t, time.Minute)
			}
			s.remove(t)
			s.awaitReleased(t, time.Minute)
		})
	}
}

// TestWhatCannotBeReleasedKeepsNoDeletion has the API server refuse the release of one pod.
func TestWhatCannotBeReleasedKeepsNoDeletion(t *testing.T) {
	s := newLeaveSite(t)
	s.start(t, 1)
	s.hold(t)
	stubborn := pod(s.ns, "stubborn", tolerant())
	stubborn.Labels = map[string]string{"example.com/frozen": "true"}
	create(t, s.c, stubborn)
	awaitGated(t, s.c, s.ns, 4)
	if _, err := s.c.KubectlInput(t.Context(), frozenPods, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	change := client.RawPatch(merge, []byte(`{"metadata":{"annotations":{"x":"y"}}}`))
	env.Eventually(t, patience, func(ctx context.Context) error { // the policy takes a moment
		if s.c.Client.Patch(ctx, stubborn.DeepCopy(), change, client.DryRunAll) == nil {
			return errors.New("the pod can be changed")
		}
		return nil
	})
	s.remove(t)
	if err := s.c.Client.Get(t.Context(), client.ObjectKeyFromObject(stubborn), stubborn); err != nil || !hold.HasGate(stubborn.Spec.SchedulingGates) {
		t.Errorf("the pod that cannot be changed was released, or is not there: %v", err)
	}
	if err := s.c.Client.Delete(t.Context(), stubborn); err != nil {
		t.Fatal(err)
	}
	s.awaitReleased(t, patience)
}

const frozenPods = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: frozen}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods]}]}
  validations: [{expression: "!('example.com/frozen' in oldObject.metadata.?labels.orValue({}))"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: frozen}
spec: {policyName: frozen, validationActions: [Deny]}
`

// leaveBlock finds the commands in docs/operations.md for those who have kubectl alone.
var leaveBlock = regexp.MustCompile("(?ms)^<!-- (?:leave: [a-z]+|generated: resume) -->\n```bash\n(.*?)^```\n")

// TestKubectlAloneReleasesEverything removes Gridlatch when its controller is gone, by the commands that
// docs/operations.md shows.
func TestKubectlAloneReleasesEverything(t *testing.T) {
	s := newLeaveSite(t)
	s.start(t, 1)
	s.hold(t)
	if err := s.controllers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	const paused, note = "autoscaling.keda.sh/paused", v1alpha1.TriggerPausedAnnotation
	want := map[string]map[string]string{"ours": nil, "theirs": {paused: "true"}, "before": {paused: "false"}}
	for name, annotations := range map[string]map[string]string{
		"ours": {paused: "true", note: paused}, "theirs": {paused: "true", note: "owner"}, "before": {paused: "true", note: paused + "=false"},
	} {
		o := env.ScaledObject(s.ns, name, 0, 10)
		o.SetAnnotations(annotations)
		create(t, s.c, o)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := leaveBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 7 {
		t.Fatalf("docs/operations.md has %d blocks, want 7", len(blocks))
	}
	awaitOwnValues, awaitOwnPriorities := lentPools(t, s.c), lentPriorities(t, s.c)
	wide := elastic(s.ns, "wide", 50, 600, v1alpha1.OriginalParallelismAnnotation, fmt.Sprint(ownWidth), v1alpha1.AppliedParallelismAnnotation, "9")
	*wide.Spec.Parallelism = 9
	create(t, s.c, wide)
	manifests, err := s.c.Kustomize(t.Context(), "resources: [MANIFESTS/base]\n"+env.Components(leavingComponents...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.KubectlInput(t.Context(), manifests, "delete", "--ignore-not-found", "--wait=false", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	binary, err := filepath.Abs("../../bin/gridlatch-cluster")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "kubectl")); err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		shell := exec.CommandContext(t.Context(), "bash", "-c", block[1])
		shell.Env = append(os.Environ(), "KUBECONFIG="+s.c.Kubeconfig, "PATH="+bin+":"+os.Getenv("PATH"))
		printed, err := shell.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s\nof:\n%s", err, printed, block[1])
		}
	}
	s.carbon = nil // kubectl cannot write its trigger back
	s.awaitReleased(t, patience)
	for name, annotations := range want {
		o := env.ScaledObject(s.ns, name, 0, 10)
		if err := s.c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(annotations, o.GetAnnotations(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	awaitOwnValues()
	awaitOwnPriorities()
	awaitOwnWidth(t, s.c, wide, ownWidth)
	s.controllers = nil
	s.remove(t)
}

// lentPools makes NodePools as Gridlatch leaves them if it is killed. The result waits until they have
// their own values.
func lentPools(t *testing.T, c *env.Cluster) func() {
	t.Helper()
	if err := c.InstallKarpenter(t.Context()); err != nil {
		t.Fatal(err)
	}
	lent, own := env.NodePool("lent", nil), env.NodePool("own", nil)
	lent.Object["spec"].(map[string]any)["limits"], lent.Object["spec"].(map[string]any)["weight"] = map[string]any{"cpu": "0", "memory": "0", "nodes": "7"}, int64(100)
	own.Object["spec"].(map[string]any)["weight"] = int64(3)
	lent.SetAnnotations(map[string]string{
		v1alpha1.LimitsAnnotation: "200=cpu:9;memory:9,*=cpu:0;memory:0", v1alpha1.LimitsBucketAnnotation: ">200", v1alpha1.NodePoolByAnnotation: "CarbonPolicy/default",
		v1alpha1.OriginalLimitsAnnotation: `{"cpu":"500","memory":null}`, v1alpha1.AppliedLimitsAnnotation: `{"cpu":"0","memory":"0"}`,
		v1alpha1.OriginalWeightAnnotation: v1alpha1.WeightUnset, v1alpha1.AppliedWeightAnnotation: "100", v1alpha1.ReasonAnnotation: "one, and two",
	})
	own.SetAnnotations(map[string]string{v1alpha1.WeightsAnnotation: v1alpha1.WeightsAuto})
	create(t, c, lent, own)
	return func() {
		t.Helper()
		awaitSpec(t, c, lent, "limits", map[string]any{"cpu": "500", "nodes": "7"})
		awaitSpec(t, c, lent, "weight", nil)
		awaitSpec(t, c, own, "weight", int64(3))
		awaitObject(t, c, lent, func() error {
			if diff := cmp.Diff(map[string]string{v1alpha1.LimitsAnnotation: "200=cpu:9;memory:9,*=cpu:0;memory:0"}, lent.GetAnnotations()); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
}

// lentPriorities makes ConfigMaps of Cluster Autoscalers as Gridlatch leaves them if it is killed. The result waits until
// they have their own priorities.
func lentPriorities(t *testing.T, c *env.Cluster) func() {
	t.Helper()
	const own = "10:\n- \".*\\.spot\" # 'ours'\n"
	quoted, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{namespace(t, c): v1alpha1.PrioritiesAbsent, namespace(t, c): string(quoted), namespace(t, c): "null", namespace(t, c): ""}
	for ns, original := range places {
		o := prioritiesIn(ns, map[string]string{"priorities": northFirst, "other": "key"})
		if original != "" {
			o.Annotations = map[string]string{
				v1alpha1.OriginalPrioritiesAnnotation: original, v1alpha1.AppliedPrioritiesAnnotation: "null", v1alpha1.PrioritiesByAnnotation: "CarbonPolicy/default",
				v1alpha1.PrioritiesChangedAnnotation: "2026-11-27T12:00:00Z", v1alpha1.ReasonAnnotation: "one, and two",
			}
		}
		create(t, c, o)
	}
	return func() {
		t.Helper()
		for ns, original := range places {
			want := map[string]string{"priorities": own, "other": "key"}
			switch original {
			case v1alpha1.PrioritiesAbsent:
				awaitNoPriorities(t, c, ns)
				continue
			case "null":
				delete(want, "priorities")
			case "":
				want["priorities"] = northFirst
			}
			awaitOwn(t, c, ns, want)
		}
	}
}

// TestAnotherReplicaLeavesWhenTheLeaderIsKilled kills the leader while Gridlatch is being removed.
func TestAnotherReplicaLeavesWhenTheLeaderIsKilled(t *testing.T) {
	s := newLeaveSite(t)
	s.start(t, 2)
	s.hold(t)
	create(t, s.c, job(s.ns, "many", tolerant(), 300))
	awaitGated(t, s.c, s.ns, 303)
	deleting("clusterrole/gridlatch", "clusterrolebinding/gridlatch", "serviceaccount/gridlatch", "role/gridlatch", "rolebinding/gridlatch")(t, s)
	env.Eventually(t, time.Minute, func(ctx context.Context) error { // in the middle of it
		held, err := countHeld(ctx, s.c, s.ns)
		if err == nil && held > 302 {
			err = errors.New("nothing is released yet")
		}
		return err
	})
	leader := s.controllers[0]
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}
	s.awaitReleased(t, time.Minute)
	s.controllers = s.controllers[1:]
	s.remove(t)
}
