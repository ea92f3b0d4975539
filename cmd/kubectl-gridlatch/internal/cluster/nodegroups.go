package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// NodeGroupsStatus says what Gridlatch has set for the node groups of a Cluster Autoscaler, by the notes on its
// ConfigMap.
type NodeGroupsStatus struct {
	// Namespace is where Cluster Autoscaler runs.
	Namespace string `json:"namespace"`
	// By says by whom the priorities are set, as in CarbonPolicy/default.
	By string `json:"by,omitempty"`
	// Priorities are in force, as Cluster Autoscaler reads them. Without them, the owner's own are.
	Priorities string `json:"priorities,omitempty"`
	Reason     string `json:"reason,omitempty"`
	// NextChange is when the order will be another one, as far as was known when it was set. It is nil if no
	// change is known.
	NextChange *time.Time `json:"nextChange,omitempty"`
	// ReleasedUntil is until when a ConfigMap that was given back by hand is left alone.
	ReleasedUntil *time.Time `json:"releasedUntil,omitempty"`
}

func configMapKind() schema.GroupVersionKind {
	return corev1.SchemeGroupVersion.WithKind("ConfigMap")
}

// prioritiesSelector selects the ConfigMaps of Cluster Autoscaler, which all have one name.
func prioritiesSelector() fields.Selector {
	return fields.OneTermEqualSelector("metadata.name", v1alpha1.PrioritiesConfigMap)
}

// nodeGroups returns what is set for the node groups of each Cluster Autoscaler. There is nothing for users who
// may not read its ConfigMap.
func (c *Cluster) nodeGroups(ctx context.Context) ([]NodeGroupsStatus, error) {
	var all []NodeGroupsStatus
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(configMapKind().GroupVersion().WithKind("ConfigMapList"))
	err := hold.Walk(ctx, c.API, list, client.ListOptions{FieldSelector: prioritiesSelector()}, func(o client.Object) {
		if s, hasNotes := nodeGroupsOf(o, c.Now); hasNotes {
			all = append(all, s)
		}
	})
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list ConfigMaps %s: %w", v1alpha1.PrioritiesConfigMap, err)
	}
	slices.SortFunc(all, func(a, b NodeGroupsStatus) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return all, nil
}

// nodeGroupsOf returns what the notes on a ConfigMap say, and false if there are none.
func nodeGroupsOf(o client.Object, now time.Time) (s NodeGroupsStatus, hasNotes bool) {
	notes := o.GetAnnotations()
	s = NodeGroupsStatus{Namespace: o.GetNamespace(), By: notes[v1alpha1.PrioritiesByAnnotation], Reason: notes[v1alpha1.ReasonAnnotation]}
	_ = json.Unmarshal([]byte(notes[v1alpha1.AppliedPrioritiesAnnotation]), &s.Priorities) // or else it stays empty
	if until := instant(notes[v1alpha1.PrioritiesReleasedAnnotation]); until != nil && until.After(now) {
		s.NextChange, s.ReleasedUntil = until, until
	} else if next := plan.NextTold(s.Reason, now); !next.IsZero() {
		s.NextChange = &next
	}
	return s, s.By != "" || s.Priorities != "" || s.ReleasedUntil != nil
}
