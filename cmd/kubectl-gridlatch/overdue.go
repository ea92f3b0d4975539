package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/cmd/internal/screen"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// leaseName is the Lease by which the replicas of Gridlatch elect the one that lets work go.
	leaseName = "gridlatch"
	// lateness is by how much a controller that runs may be late.
	lateness = time.Minute
	// firstOverdue is how many groups are named.
	firstOverdue = 5
)

// What is known of the controller.
type controllerState string

const (
	controllerRuns    controllerState = "Running"
	controllerGone    controllerState = "Gone"    // it has not renewed its lease in time
	controllerUnseen  controllerState = "Unseen"  // there is no lease
	controllerUnknown controllerState = "Unknown" // its lease may not be read
)

// A controller is what its lease says of it.
type controller struct {
	State   controllerState `json:"state"`
	Renewed *time.Time      `json:"leaseRenewed,omitempty"`
	// Problem says in a sentence that nobody is there to let work go, or is empty.
	Problem string `json:"problem,omitempty"`
}

// controller looks for the one that lets work go.
func (c *cluster) controller(ctx context.Context) (controller, error) {
	var lease coordinationv1.Lease
	err := c.Get(ctx, client.ObjectKey{Namespace: c.system, Name: leaseName}, &lease)
	renewed := lease.Spec.RenewTime
	switch {
	case apierrors.IsForbidden(err):
		return controller{State: controllerUnknown}, nil
	case err != nil && !apierrors.IsNotFound(err):
		return controller{}, fmt.Errorf("look for the controller: %w", err)
	case err != nil, renewed == nil:
		return controller{State: controllerUnseen, Problem: fmt.Sprintf(
			"no controller of Gridlatch is seen in namespace %s, which has no Lease %s (--gridlatch-namespace names another namespace)", c.system, leaseName,
		)}, nil
	}
	found := controller{State: controllerRuns, Renewed: ptr.To(renewed.UTC())}
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	if age := c.now.Sub(*found.Renewed); age > lasts+lateness {
		found.State = controllerGone
		found.Problem = fmt.Sprintf("no controller of Gridlatch runs in namespace %s: its Lease %s was last renewed at %s, %s ago",
			c.system, leaseName, plan.FormatTime(*found.Renewed), roughly(age))
	}
	return found, nil
}

// overdueSince is the first of some starts, nil if none is past by more than a controller that runs may be late.
func overdueSince(now time.Time, starts ...*time.Time) *time.Time {
	var first *time.Time
	for _, start := range starts {
		if start != nil && now.Sub(*start) > lateness && (first == nil || start.Before(*first)) {
			first = start
		}
	}
	return first
}

// overdue counts the groups that should have been let go and are held still.
type overdue struct {
	Since  time.Time `json:"since"`
	Groups int       `json:"groups"`
	Pods   int       `json:"pods"`
	// First are those that have been overdue for longest.
	First []overdueGroup `json:"first"`
}

type overdueGroup struct {
	Kind      kind      `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Since     time.Time `json:"since"`
}

// overdue is nil if no group is.
func (all holdings) overdue(now time.Time) *overdue {
	found := &overdue{}
	for _, g := range all {
		if since := overdueSince(now, g.planned, g.latest); since != nil {
			found.Groups++
			found.Pods += g.pods
			found.First = append(found.First, overdueGroup{Kind: g.kind, Namespace: g.namespace, Name: g.name, Since: *since})
		}
	}
	if found.Groups == 0 {
		return nil
	}
	slices.SortFunc(found.First, func(a, b overdueGroup) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	found.Since, found.First = found.First[0].Since, found.First[:min(found.Groups, firstOverdue)]
	return found
}

func (o *overdue) writeText(out *screen.Screen) {
	out.Printf("problem: %s with %s %s overdue since %s\n", several(o.Groups, "group"), several(o.Pods, "pod"), are(o.Groups), plan.FormatTime(o.Since))
	for _, g := range o.First {
		out.Printf("  %s in namespace %s, since %s\n", work{g.Kind, g.Name}, g.Namespace, plan.FormatTime(g.Since))
	}
	if more := o.Groups - len(o.First); more > 0 {
		out.Printf("  and %d more\n", more)
	}
}
