package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// NodePoolStatus says what Gridlatch has set on a NodePool of Karpenter, by the notes there.
type NodePoolStatus struct {
	Name string `json:"name"`
	// By says by whom the pool is set, as in CarbonPolicy/default.
	By string `json:"by,omitempty"`
	// Bucket and Limits, by resource, are in force. Without them, the pool has its own limits.
	Bucket string            `json:"bucket,omitempty"`
	Limits map[string]string `json:"limits,omitempty"`
	// Weight is in force. Without it, the pool has its own weight.
	Weight *int32 `json:"weight,omitempty"`
	Reason string `json:"reason,omitempty"`
	// NextChange is when the limits or the weight will be others, as far as was known when they were set.
	// It is nil if no change is known.
	NextChange *time.Time `json:"nextChange,omitempty"`
	// ReleasedUntil is until when a pool that was given back by hand is left alone.
	ReleasedUntil *time.Time `json:"releasedUntil,omitempty"`
}

func nodePoolKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "karpenter.sh", Version: "v1", Kind: "NodePool"}
}

// nodePools returns the NodePools with notes of Gridlatch. There are none without Karpenter, and for users
// who may not read NodePools.
func (c *Cluster) nodePools(ctx context.Context) ([]NodePoolStatus, error) {
	var all []NodePoolStatus
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(nodePoolKind().GroupVersion().WithKind("NodePoolList"))
	err := hold.Walk(ctx, c.API, list, client.ListOptions{}, func(o client.Object) {
		if s, hasNotes := nodePool(o, c.Now); hasNotes {
			all = append(all, s)
		}
	})
	switch {
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err), apimeta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list NodePools: %w", err)
	}
	slices.SortFunc(all, func(a, b NodePoolStatus) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// nodePool returns what the notes on a NodePool say, and false if there are none.
func nodePool(o client.Object, now time.Time) (s NodePoolStatus, hasNotes bool) {
	notes := o.GetAnnotations()
	s = NodePoolStatus{
		Name: o.GetName(), By: notes[v1alpha1.NodePoolByAnnotation], Bucket: notes[v1alpha1.LimitsBucketAnnotation],
		Limits: limitsOf(notes[v1alpha1.AppliedLimitsAnnotation]), Reason: notes[v1alpha1.ReasonAnnotation],
	}
	if weight, err := strconv.ParseInt(notes[v1alpha1.AppliedWeightAnnotation], 10, 32); err == nil {
		set := int32(weight)
		s.Weight = &set
	}
	if until := instant(notes[v1alpha1.NodePoolReleasedAnnotation]); until != nil && until.After(now) {
		s.NextChange, s.ReleasedUntil = until, until
	} else if next := plan.NextTold(s.Reason, now); !next.IsZero() {
		s.NextChange = &next
	}
	return s, s.By != "" || len(s.Limits) > 0 || s.Weight != nil || s.ReleasedUntil != nil
}

// limitsOf reads a note with limits by resource. Limits may be numbers. What cannot be meant is left out.
func limitsOf(note string) map[string]string {
	var raw map[string]json.RawMessage
	if json.Unmarshal([]byte(note), &raw) != nil {
		return nil
	}
	limits := map[string]string{}
	for name, value := range raw {
		var text string
		var number json.Number
		switch {
		case len(validation.IsQualifiedName(name)) > 0:
		case json.Unmarshal(value, &text) == nil && text != "":
			limits[name] = text
		case json.Unmarshal(value, &number) == nil && number != "":
			limits[name] = number.String()
		}
	}
	return limits
}
