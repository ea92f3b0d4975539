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

// Who makes the pods of Jobs: with --use-service-account-credentials, as kubeadm
// sets it, and without.
const (
	jobController     = "system:serviceaccount:kube-system:job-controller"
	controllerManager = "system:kube-controller-manager"
)

// asks reports whether an object is created with the wish to wait, of itself or of
// its pod template. The matchConditions say the same.
func asks(objects ...metav1.Object) bool {
	return slices.ContainsFunc(objects, func(o metav1.Object) bool {
		wish, ok := policy.Wish(o)
		return ok && wish != "false"
	})
}

// vouched reports whether what only Gridlatch writes is to be believed of a pod:
// the Job controller has copied it from a template, which has been here with its
// Job. Of anything else, anybody may have written it.
func vouched(req serving.Review, pod metav1.Object) bool {
	by := req.Username
	return hold.OwningJob(pod) != nil && (by == jobController || by == controllerManager)
}

// stripPod takes off a pod that does not ask to wait what only Gridlatch writes,
// and changes nothing else.
func stripPod(pod *corev1.Pod) verdict {
	strip(&pod.ObjectMeta)
	return verdict{outcome: stripped, noted: true, patch: dropGate(pod.Spec.SchedulingGates, "/spec")}
}

// stripJob does so with a Job and its pod template.
func stripJob(job *batchv1.Job) verdict {
	strip(&job.ObjectMeta)
	strip(&job.Spec.Template.ObjectMeta)
	return verdict{outcome: stripped, noted: true}
}

func strip(meta *metav1.ObjectMeta) {
	policy.ForgetNotes(meta.Annotations)
	delete(meta.Labels, v1alpha1.StateLabel)
}

// dropGate takes our gate off the gates of a spec at path, if it is among them.
func dropGate(gates []corev1.PodSchedulingGate, path string) patch {
	if !hold.HasGate(gates) {
		return nil
	}
	ours := func(g corev1.PodSchedulingGate) bool { return g.Name == v1alpha1.Gate }
	return patch{}.set(path+"/schedulingGates", slices.DeleteFunc(slices.Clone(gates), ours))
}
