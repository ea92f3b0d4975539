package cluster

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/plan"
)

const (
	// leaseName is the Lease by which the replicas of Gridlatch elect the one that releases work.
	leaseName = "gridlatch"
	// tolerance is how late a controller may be that runs.
	tolerance = time.Minute
)

// ControllerState says what is known of the controller.
type ControllerState string

// The states of the controller.
const (
	ControllerRuns    ControllerState = "Running"
	ControllerGone    ControllerState = "Gone"    // its Lease was not renewed in time
	ControllerUnseen  ControllerState = "Unseen"  // there is no Lease
	ControllerUnknown ControllerState = "Unknown" // the user may not read its Lease
)

// Controller is what its Lease says of the controller.
type Controller struct {
	State   ControllerState `json:"state"`
	Renewed *time.Time      `json:"leaseRenewed,omitempty"`
	// Problem says in a sentence that nobody releases work, empty if somebody may.
	Problem string `json:"problem,omitempty"`
}

// Controller looks for the replica of Gridlatch that releases work.
func (c *Cluster) Controller(ctx context.Context) (Controller, error) {
	var lease coordinationv1.Lease
	err := c.API.Get(ctx, client.ObjectKey{Namespace: c.System, Name: leaseName}, &lease)
	renewed := lease.Spec.RenewTime
	switch {
	case apierrors.IsForbidden(err):
		return Controller{State: ControllerUnknown}, nil
	case err != nil && !apierrors.IsNotFound(err):
		return Controller{}, fmt.Errorf("look for the controller: %w", err)
	case err != nil, renewed == nil:
		return Controller{State: ControllerUnseen, Problem: fmt.Sprintf(
			"no controller of Gridlatch was found: namespace %s has no Lease %s (if Gridlatch is in another namespace, name that with --gridlatch-namespace)",
			c.System, leaseName,
		)}, nil
	}
	found := Controller{State: ControllerRuns, Renewed: ptr.To(renewed.UTC())}
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	if age := c.Now.Sub(*found.Renewed); age > lasts+tolerance {
		found.State = ControllerGone
		found.Problem = fmt.Sprintf("no controller of Gridlatch runs in namespace %s: its Lease %s was last renewed at %s, %s ago",
			c.System, leaseName, plan.FormatTime(*found.Renewed), plan.FormatDuration(age.Round(time.Minute)))
	}
	return found, nil
}

// overdueSince returns the first of some starts, nil if a controller that runs may not have come to
// any yet.
func overdueSince(now time.Time, starts ...*time.Time) *time.Time {
	var first *time.Time
	for _, start := range starts {
		if start != nil && now.Sub(*start) > tolerance && (first == nil || start.Before(*first)) {
			first = start
		}
	}
	return first
}
