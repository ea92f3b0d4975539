package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

const (
	junkJobs  = 2000
	junkBytes = 250_000 // of one annotation; Kubernetes allows a little more
)

// measureJunk creates Jobs that say they are held and carry much that nobody reads. It returns by how much the
// controller's memory has grown for them, and its peak when it starts with them there, in MiB.
func measureJunk(ctx context.Context) (values []float64, err error) {
	r, err := newRig(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	idle, err := settledMemory(ctx, r.controller.Program)
	if err != nil {
		return nil, err
	}
	log.Printf("creating %d Jobs of %d bytes", junkJobs, junkBytes)
	junk := map[string]string{"gridlatch.dev/junk": strings.Repeat("x", junkBytes)}
	err = parallel(ctx, junkJobs, func(ctx context.Context, i int) error { return r.claim(ctx, podName(i), junk) })
	if err != nil {
		return nil, fmt.Errorf("create jobs: %w", err)
	}
	grown, err := settledMemory(ctx, r.controller.Program)
	if err != nil {
		return nil, err
	}
	if err := r.restart(ctx); err != nil {
		return nil, err
	}
	if _, err := settledMemory(ctx, r.controller.Program); err != nil {
		return nil, err
	}
	peak, err := r.controller.Memory("VmHWM")
	return []float64{grown - idle, peak}, err
}

// claim creates a suspended Job, of which nothing comes, and then has it say that it is held: on creation, the webhook
// would take that off.
func (r *rig) claim(ctx context.Context, name string, annotations map[string]string) error {
	suspended := true
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: annotations},
		Spec: batchv1.JobSpec{Suspend: &suspended, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "none"}},
		}}},
	}
	jobs := r.clientset.BatchV1().Jobs(namespace)
	if _, err := jobs.Create(ctx, job, metav1.CreateOptions{}); err != nil {
		return err
	}
	held := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, v1alpha1.StateLabel, v1alpha1.StateHeld)
	_, err := jobs.Patch(ctx, job.Name, types.MergePatchType, held, metav1.PatchOptions{})
	return err
}
