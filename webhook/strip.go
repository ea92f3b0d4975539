package webhook

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/serving"
)

// These users make the pods of Jobs: with --use-service-account-credentials, as kubeadm sets the
// flag, and without the flag.
const (
	jobController     = "system:serviceaccount:kube-system:job-controller"
	controllerManager = "system:kube-controller-manager"
)

// wantToWait reports whether one of the objects asks to wait: a Job or its pod template. The
// matchConditions say the same.
func wantToWait(objects ...metav1.Object) bool {
	return slices.ContainsFunc(objects, func(o metav1.Object) bool {
		wish, ok := policy.Wish(o)
		return ok && wish != "false"
	})
}

// isVouchedFor reports whether the webhook believes what only Gridlatch writes on a pod. The Job
// controller has copied it from a template that was here with its Job. On any other pod, anybody
// may have written it.
func isVouchedFor(req serving.Review, pod metav1.Object) bool {
	by := req.Username
	return hold.OwningJob(pod) != nil && (by == jobController || by == controllerManager)
}

// stripPod removes what only Gridlatch writes from a pod that does not ask to wait, and changes
// nothing else.
func stripPod(pod *corev1.Pod) verdict {
	stripMetadata(&pod.ObjectMeta)
	return verdict{outcome: stripped, changesMetadata: true, patch: dropGate(pod.Spec.SchedulingGates, "/spec")}
}

// stripJob removes what only Gridlatch writes from a Job that does not ask to wait, and from its
// pod template.
func stripJob(job *batchv1.Job) verdict {
	stripMetadata(&job.ObjectMeta)
	stripMetadata(&job.Spec.Template.ObjectMeta)
	return verdict{outcome: stripped, changesMetadata: true}
}

func stripMetadata(meta *metav1.ObjectMeta) {
	policy.ForgetNotes(meta.Annotations)
	hold.ForgetKueueGate(meta.Annotations)
	delete(meta.Labels, v1alpha1.StateLabel)
}

// dropGate removes our gate from the gates of a spec at path, if our gate is among them.
func dropGate(gates []corev1.PodSchedulingGate, path string) patch {
	if !hold.HasGate(gates) {
		return nil
	}
	ours := func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate }
	return patch{}.set(path+"/schedulingGates", slices.DeleteFunc(slices.Clone(gates), ours))
}
