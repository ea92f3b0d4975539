// Package cluster reads from a cluster what Gridlatch does there, with the rights of the user, and
// holds and releases work by hand. All this works without the controller.
package cluster

import (
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Cluster is a cluster as a user sees it at a moment.
type Cluster struct {
	API client.Client
	// Namespace is where work is looked for.
	Namespace string
	// System is the namespace of the controller.
	System string
	Now    time.Time
}

// Dial returns a client without a limit of its own: the API server decides how fast it answers.
func Dial(config *rest.Config) (client.Client, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return client.New(config, client.Options{Scheme: scheme})
}

// Scheme returns the kinds of objects that a Cluster reads and writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(corev1.AddToScheme(scheme), batchv1.AddToScheme(scheme), rbacv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
	if err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	return scheme, nil
}

// clock is a clock that stands still.
type clock time.Time

// Now returns always the same moment.
func (c clock) Now() time.Time { return time.Time(c) }

// withRole adds to an error which role a user needs who may not read CarbonPolicies.
func withRole(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("you may not read CarbonPolicies: ask for the ClusterRole gridlatch-view (%w)", err)
	}
	return err
}

// maxYear bounds the instants that are believed: JSON has no years of five digits.
const maxYear = 9000

// instant reads an instant that Gridlatch has written, nil if there is none.
func instant(text string) *time.Time {
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC()
	if err != nil || t.Year() < 1 || t.Year() > maxYear {
		return nil
	}
	return &t
}
