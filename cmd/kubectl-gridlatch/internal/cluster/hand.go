package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
)

// Release releases what is held: a Job with its pods, what else is held whole, or a pod. It returns how
// many pods that is.
func (c *Cluster) Release(ctx context.Context, o client.Object) (int, error) {
	return hold.Release(ctx, c.API, o, hold.ManualReleaseReason(c.Now), c.Now)
}

// ReleaseAll releases all work that is held in a namespace, or in the cluster if the namespace is
// empty, and returns how many pods that is. Progress is told how many pods are released, and how
// many objects could not be.
func (c *Cluster) ReleaseAll(ctx context.Context, namespace string, progress func(released, left int)) (int, error) {
	exit := hold.Exit{Client: c.API, Namespace: namespace, Reason: hold.ManualReleaseReason(c.Now), Now: c.Now, ByHand: true, Progress: progress}
	return exit.ReleaseAll(ctx)
}

// Hold says how a user asks to hold Jobs that exist already.
type Hold struct {
	// Deadline is when the work must be finished. If it is zero, the deadline of the Job holds.
	Deadline time.Time
	// Policy is the name of the policy to plan by. If it is empty, the Job or its namespace names
	// the policy.
	Policy string
	// Force holds a Job even if running pods of the Job are deleted, if somebody else has suspended
	// the Job, or if no controller would resume it.
	Force bool
}

// CheckController returns an error if nobody would release what is held now, unless that is forced.
func (c *Cluster) CheckController(ctx context.Context, h Hold) error {
	if h.Force {
		return nil
	}
	found, err := c.Controller(ctx)
	if err == nil && found.Problem != "" {
		err = hold.NeedsForceError("nobody would release the work: " + found.Problem)
	}
	return err
}

// Hold holds a Job, and returns why and until when, and what is wrong with its policy or forecast.
func (c *Cluster) Hold(ctx context.Context, o client.Object, h Hold) (reason string, warnings []string, err error) {
	job, ok := o.(*batchv1.Job)
	if kind := WorkOf(o).Kind; !ok && kind.Door() != nil {
		return "", nil, fmt.Errorf("a %s cannot be held by hand: create it with the annotation %s: \"true\"", kind.Noun(), v1alpha1.DelayTolerantAnnotation)
	}
	if !ok {
		return "", nil, errors.New("a pod cannot be held by hand: a scheduling gate can be put on a pod only when the pod is created," +
			" by the annotation " + v1alpha1.DelayTolerantAnnotation + ": \"true\"")
	}
	name, err := c.policyOf(ctx, h, job)
	if err != nil {
		return "", nil, err
	}
	g, err := c.readGrid(ctx, name, c.Now, nil)
	if err != nil {
		return "", nil, err
	}
	var snapshot *forecast.Snapshot
	if g.problem == nil {
		snapshot = g.snapshot
	}
	err = hold.ManualHold{Policy: g.policy, Snapshot: snapshot, Deadline: h.Deadline, Force: h.Force}.Apply(ctx, c.API, job, c.Now)
	if apierrors.IsConflict(err) {
		err = errors.New("the Job has just changed: look at it, and try again")
	}
	return job.Annotations[v1alpha1.ReasonAnnotation], g.doubts(), err
}

// NeedsForce reports whether an error says that a Job is held only by force.
func NeedsForce(err error) bool {
	_, ok := errors.AsType[hold.NeedsForceError](err)
	return ok
}

// policyOf returns the name of the policy that is asked for: by the user, by the Job, or by its
// namespace.
func (c *Cluster) policyOf(ctx context.Context, h Hold, job *batchv1.Job) (string, error) {
	if h.Policy != "" {
		return h.Policy, nil
	}
	if name := policy.JobAskAnnotations(job)[v1alpha1.PolicyAnnotation]; name != "" {
		return name, nil
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := c.API.Get(ctx, types.NamespacedName{Name: job.Namespace}, namespace)
	if err != nil && !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("read the namespace of the Job: %w", err)
	}
	return namespace.Annotations[v1alpha1.PolicyAnnotation], nil
}
