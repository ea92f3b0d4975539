package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/test/env"
)

const (
	carbonTrigger = `{type: carbon-intensity, metadata: {region: "us-west-2", emissionThreshold: "200", handler: "scaleDown"}}`
	kafkaTrigger  = `{type: kafka, metadata: {bootstrapServers: "kafka:9092", consumerGroup: g, topic: t, lagThreshold: "5"}}`
	lastApplied   = "kubectl.kubernetes.io/last-applied-configuration"
)

// A gitRepo has the manifest of one ScaledObject, which tools apply. KEDA does not run, because only the object
// counts.
type gitRepo struct {
	cluster   *env.Cluster
	namespace string
}

// TestGitOpsToolsAndTheTrigger also shows that the webhook alone replaces a trigger: what a tool gets back from its
// own request has it replaced.
func TestGitOpsToolsAndTheTrigger(t *testing.T) {
	c, g := triggerCluster(t)
	for name, story := range map[string]func(*testing.T, *gitRepo){
		"kubectl apply":                             applyTwice,
		"kubectl diff":                              diffAfterApply,
		"Flux":                                      dryRunOfFlux,
		"Helm, and each three-way merge":            mergeThreeWays,
		"the three-way diff of Argo CD":             diffOfArgoCD,
		"the server-side diff of Argo CD":           serverSideDiffOfArgoCD,
		"a trigger that is removed":                 removeTheTrigger,
		"a trigger that comes and goes beside ours": addAnother,
		"the form that nothing rewrites":            applyTheExplicitForm,
	} {
		t.Run(name, func(t *testing.T) { story(t, &gitRepo{cluster: c, namespace: namespace(t, c)}) })
	}
	t.Run("the webhook's conditions", func(t *testing.T) { conditions(t, g, &gitRepo{cluster: c, namespace: namespace(t, c)}) })
}

// triggerCluster gives a test a cluster with the definitions of KEDA, and Gridlatch with its scaler.
func triggerCluster(t *testing.T) (*env.Cluster, *env.Controller) {
	t.Helper()
	port, err := env.ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	c, g := ownCluster(t, fmt.Sprintf("--scaler-bind-address=127.0.0.1:%d", port), fmt.Sprintf("--scaler-address=localhost:%d", port))
	if err := c.InstallKEDA(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitRewriting(t, c)
	return c, g
}

// manifest is what is in git.
func (r *gitRepo) manifest(triggers ...string) string {
	return `apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: green-ai-training-job, namespace: ` + r.namespace + `}
spec:
  scaleTargetRef: {name: model-trainer-worker}
  minReplicaCount: 0
  maxReplicaCount: 20
  triggers: [` + strings.Join(triggers, ", ") + "]\n"
}

func (r *gitRepo) object(t *testing.T, triggers ...string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text, err := yaml.YAMLToJSON([]byte(r.manifest(triggers...)))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	return o
}

// live returns the object in the cluster.
func (r *gitRepo) live(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	o := r.object(t)
	if err := r.cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// apply has kubectl apply a manifest, and returns what the API server answers.
func (r *gitRepo) apply(t *testing.T, triggers ...string) *unstructured.Unstructured {
	t.Helper()
	answer, err := r.cluster.KubectlInput(t.Context(), r.manifest(triggers...), "apply", "-o", "json", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON([]byte(answer)); err != nil { // with whole numbers, as from the client
		t.Fatal(err)
	}
	return o
}

// applyServerSide applies a manifest as a tool that forces its fields, and returns what the API server answers.
func (r *gitRepo) applyServerSide(t *testing.T, manager string, triggers []string, options ...client.PatchOption) *unstructured.Unstructured {
	t.Helper()
	o := r.object(t, triggers...)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	options = append(options, client.FieldOwner(manager), client.ForceOwnership)
	if err := r.cluster.Client.Patch(t.Context(), o, client.RawPatch(types.ApplyPatchType, text), options...); err != nil {
		t.Fatal(err)
	}
	return o
}

// typesOf returns the types of the triggers of an object, and the effect of one that was replaced.
func typesOf(o *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
	var found []string
	for _, each := range list {
		t, _ := each.(map[string]any)
		metadata, _ := t["metadata"].(map[string]any)
		text := fmt.Sprint(t["type"])
		for _, key := range []string{"writtenAs", "effect"} {
			if metadata[key] != nil {
				text += " " + key + "=" + fmt.Sprint(metadata[key])
			}
		}
		found = append(found, text)
	}
	return strings.Join(found, ", ")
}

func wantTypes(t *testing.T, o *unstructured.Unstructured, want string) {
	t.Helper()
	if got := typesOf(o); got != want {
		t.Errorf("the triggers are %s, want %s", got, want)
	}
}

// wantUnmoved fails the test if the spec of the live object has changed.
func (r *gitRepo) wantUnmoved(t *testing.T, before *unstructured.Unstructured, by string) {
	t.Helper()
	if after := r.live(t); after.GetGeneration() != before.GetGeneration() {
		t.Errorf("%s moved the generation from %d to %d: %s", by, before.GetGeneration(), after.GetGeneration(), cmp.Diff(before.Object["spec"], after.Object["spec"]))
	}
}

const replaced = "external-push writtenAs=carbon-intensity"

func applyTwice(t *testing.T, r *gitRepo) {
	first := r.apply(t, carbonTrigger)
	wantTypes(t, first, replaced)
	second := r.apply(t, carbonTrigger)
	wantTypes(t, second, replaced)
	r.wantUnmoved(t, first, "the second apply")
	if said, err := r.cluster.KubectlInput(t.Context(), r.manifest(carbonTrigger), "apply", "-f", "-"); err != nil || !strings.Contains(said, " configured") {
		t.Errorf("kubectl apply says %q (%v)", said, err)
	}
	changed := r.apply(t, strings.Replace(carbonTrigger, "200", "250", 1))
	if changed.GetGeneration() == first.GetGeneration() {
		t.Error("a new threshold does not arrive")
	}
	wantTypes(t, changed, replaced)
}

func diffAfterApply(t *testing.T, r *gitRepo) {
	both := r.manifest(carbonTrigger, kafkaTrigger)
	for _, flags := range [][]string{{}, {"--server-side", "--force-conflicts"}} {
		for _, verb := range []string{"apply", "diff"} {
			if diff, err := r.cluster.KubectlInput(t.Context(), both, append([]string{verb, "-f", "-"}, flags...)...); err != nil {
				t.Errorf("kubectl %s %q: %v\n%s", verb, flags, err, diff)
			}
		}
	}
	if diff, err := r.cluster.KubectlInput(t.Context(), r.manifest(kafkaTrigger), "diff", "-f", "-"); err == nil {
		t.Errorf("a trigger less makes no difference: %s", diff)
	}
}

// withoutNotes returns an object without what changes at each write.
func withoutNotes(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	return o.Object
}

func dryRunOfFlux(t *testing.T, r *gitRepo) {
	const flux = "kustomize-controller"
	for _, triggers := range [][]string{{carbonTrigger}, {carbonTrigger, kafkaTrigger}} {
		first := r.applyServerSide(t, flux, triggers)
		env.Eventually(t, patience, func(context.Context) error { // the controller adds its notes meanwhile
			dry := r.applyServerSide(t, flux, triggers, client.DryRunAll)
			if diff := cmp.Diff(withoutNotes(r.live(t)), withoutNotes(dry)); diff != "" {
				return fmt.Errorf("Flux finds a drift (-stored +dry run):\n%s", diff)
			}
			return nil
		})
		r.applyServerSide(t, flux, triggers)
		r.wantUnmoved(t, first, "Flux")
	}
	// And Flux takes over what kubectl has applied.
	r.apply(t, carbonTrigger)
	dry := r.applyServerSide(t, flux, []string{carbonTrigger}, client.DryRunAll)
	if diff := cmp.Diff(r.live(t).Object["spec"], dry.Object["spec"]); diff != "" {
		t.Errorf("Flux finds a drift of kubectl's object (-stored +dry run):\n%s", diff)
	}
}

// threeWayPatch returns the merge patch from a live object to a manifest. What was in git before, and is no more, is
// taken out.
func threeWayPatch(t *testing.T, before, after, live *unstructured.Unstructured) []byte {
	t.Helper()
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(asJSON(t, before), asJSON(t, after), asJSON(t, live))
	if err != nil {
		t.Fatal(err)
	}
	return patch
}

func asJSON(t *testing.T, o *unstructured.Unstructured) []byte {
	t.Helper()
	text, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (r *gitRepo) merge(t *testing.T, patch []byte) *unstructured.Unstructured {
	t.Helper()
	o := r.object(t)
	if err := r.cluster.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("helm")); err != nil {
		t.Fatal(err)
	}
	return o
}

func mergeThreeWays(t *testing.T, r *gitRepo) {
	written := r.object(t, carbonTrigger)
	create(t, r.cluster, written.DeepCopy())
	first := r.live(t)
	patch := threeWayPatch(t, written, written, first)
	if !strings.Contains(string(patch), "carbon-intensity") {
		t.Errorf("the patch %s does not write the trigger again", patch)
	}
	wantTypes(t, r.merge(t, patch), replaced)
	r.wantUnmoved(t, first, "an upgrade that changes nothing")
	// Helm 3 compares only the manifests of objects of other APIs.
	if patch, err := jsonpatch.CreateMergePatch(asJSON(t, written), asJSON(t, written)); err != nil || string(patch) != "{}" {
		t.Errorf("Helm 3 would send %s (%v)", patch, err)
	}
	// Helm 4 applies on the server's side.
	helm := r.applyServerSide(t, "helm", []string{carbonTrigger})
	if diff := cmp.Diff(first.Object["spec"], helm.Object["spec"]); diff != "" {
		t.Errorf("Helm 4 changes (-before +after):\n%s", diff)
	}
}

// compared returns the difference that Argo CD sees, in triggers that it does not ignore.
func compared(live, predicted *unstructured.Unstructured, isIgnored func(trigger map[string]any) bool) string {
	seen := func(o *unstructured.Unstructured) []any {
		list, _, _ := unstructured.NestedSlice(o.Object, "spec", "triggers")
		return slices.DeleteFunc(list, func(each any) bool { t, ok := each.(map[string]any); return ok && isIgnored(t) })
	}
	return cmp.Diff(seen(live), seen(predicted))
}

// diffOfArgoCD predicts the live object as Argo CD does for objects of other APIs: by a three-way merge.
func diffOfArgoCD(t *testing.T, r *gitRepo) {
	live := r.apply(t, kafkaTrigger, carbonTrigger)
	var before unstructured.Unstructured
	if err := before.UnmarshalJSON([]byte(live.GetAnnotations()[lastApplied])); err != nil {
		t.Fatal(err)
	}
	predict := func(triggers ...string) *unstructured.Unstructured {
		text, err := jsonpatch.MergePatch(asJSON(t, live), threeWayPatch(t, &before, r.object(t, triggers...), live))
		if err != nil {
			t.Fatal(err)
		}
		var predicted unstructured.Unstructured
		if err := predicted.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		return &predicted
	}
	is := func(key string, values ...string) func(map[string]any) bool {
		return func(t map[string]any) bool {
			metadata, _ := t["metadata"].(map[string]any)
			return slices.ContainsFunc(values, func(v string) bool { return t[key] == v || metadata[key] == v })
		}
	}
	none := func(map[string]any) bool { return false }
	oneSide := is("type", "external-push") // .spec.triggers[] | select(.type == "external-push")
	// .spec.triggers[] | select(.type == "carbon-intensity" or .metadata.writtenAs == "carbon-intensity")
	bothSides := func(t map[string]any) bool {
		return is("type", "carbon-intensity")(t) || is("writtenAs", "carbon-intensity")(t)
	}
	for _, tt := range []struct {
		name      string
		predicted *unstructured.Unstructured
		isIgnored func(map[string]any) bool
		isSynced  bool
	}{
		{"without a setting", predict(kafkaTrigger, carbonTrigger), none, false},
		{"ignoring what Gridlatch writes, but not what is in git", predict(kafkaTrigger, carbonTrigger), oneSide, false},
		{"ignoring both", predict(kafkaTrigger, carbonTrigger), bothSides, true},
		{"ignoring both, another trigger is gone from git", predict(carbonTrigger), bothSides, false},
		{"ignoring both, another threshold in git", predict(kafkaTrigger, strings.Replace(carbonTrigger, "200", "250", 1)), bothSides, true}, // the price
	} {
		if diff := compared(live, tt.predicted, tt.isIgnored); (diff == "") != tt.isSynced {
			t.Errorf("%s: in sync: %t, want %t\n%s", tt.name, diff == "", tt.isSynced, diff)
		}
	}
}

// serverSideDiffOfArgoCD predicts the live object by a dry run, as Argo CD does with ServerSideDiff=true.
func serverSideDiffOfArgoCD(t *testing.T, r *gitRepo) {
	const argo = "argocd-controller"
	live := r.apply(t, carbonTrigger)
	none := func(map[string]any) bool { return false }
	if diff := compared(live, r.applyServerSide(t, argo, []string{carbonTrigger}, client.DryRunAll), none); diff != "" {
		t.Errorf("Argo CD finds a drift (-live +predicted):\n%s", diff)
	}
	other := strings.Replace(carbonTrigger, "200", "250", 1)
	if compared(live, r.applyServerSide(t, argo, []string{other}, client.DryRunAll), none) == "" {
		t.Error("Argo CD does not find a new threshold in git")
	}
}

func removeTheTrigger(t *testing.T, r *gitRepo) {
	for name, remove := range map[string]func() *unstructured.Unstructured{
		"kubectl apply": func() *unstructured.Unstructured {
			r.apply(t, carbonTrigger, kafkaTrigger)
			return r.apply(t, kafkaTrigger)
		},
		"server-side apply": func() *unstructured.Unstructured {
			r.applyServerSide(t, "kustomize-controller", []string{carbonTrigger, kafkaTrigger})
			return r.applyServerSide(t, "kustomize-controller", []string{kafkaTrigger})
		},
		"a three-way merge": func() *unstructured.Unstructured {
			both := []string{carbonTrigger, kafkaTrigger}
			r.applyServerSide(t, "helm", both)
			return r.merge(t, threeWayPatch(t, r.object(t, both...), r.object(t, kafkaTrigger), r.live(t)))
		},
	} {
		if got := typesOf(remove()); got != "kafka" {
			t.Errorf("%s leaves %s", name, got)
		}
		wantTypes(t, r.live(t), "kafka")
		if err := r.cluster.Client.Delete(t.Context(), r.object(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func addAnother(t *testing.T, r *gitRepo) {
	wantTypes(t, r.apply(t, carbonTrigger), replaced)
	wantTypes(t, r.apply(t, carbonTrigger, kafkaTrigger), replaced+" effect=ceiling, kafka")
	// Somebody else changes the list as it is in the cluster.
	drop := func(index int) *unstructured.Unstructured {
		o := r.object(t)
		patch := fmt.Sprintf(`[{"op":"remove","path":"/spec/triggers/%d"}]`, index)
		if err := r.cluster.Client.Patch(t.Context(), o, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
			t.Fatal(err)
		}
		return o
	}
	wantTypes(t, drop(1), replaced)
	wantTypes(t, r.apply(t, kafkaTrigger, carbonTrigger), "kafka, "+replaced+" effect=ceiling")
	wantTypes(t, drop(1), "kafka")
}

func applyTheExplicitForm(t *testing.T, r *gitRepo) {
	const explicit = `{type: external-push, metadata: {scalerAddress: "gridlatch-scaler.gridlatch-system.svc:9446", enableTLS: "true",
    region: "us-west-2", emissionThreshold: "200"}, authenticationRef: {kind: ClusterTriggerAuthentication, name: gridlatch}}`
	want := r.object(t, explicit, kafkaTrigger)
	for _, o := range []*unstructured.Unstructured{r.apply(t, explicit, kafkaTrigger), r.applyServerSide(t, "argocd-controller", []string{explicit, kafkaTrigger})} {
		if diff := compared(want, o, func(map[string]any) bool { return false }); diff != "" {
			t.Errorf("what was written is changed (-written +stored):\n%s", diff)
		}
	}
}
