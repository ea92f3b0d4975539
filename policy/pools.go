package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// Place returns the location of a policy at which all nodes of a pool are, by the values that the labels
// of its nodes can have. The location is empty if the labels do not tell. The error says that the nodes
// may be at several locations, or is the error of [Policies.Get].
func (l Levels) Place(ctx context.Context, name string, labels map[string][]string) (string, error) {
	policy, err := l.Policies.Get(ctx, name)
	if err != nil {
		return "", err
	}
	return policy.placeOf(l.Store.Snapshot(policy.Source), labels)
}

// ErrScattered says that the nodes of a pool are not all at one location.
var ErrScattered = errors.New("its nodes are not all at one location of the policy")

// placeOf returns the location at which all nodes with such labels are. A node with the labels of two
// locations belongs to the first.
func (p *Policy) placeOf(snapshot *forecast.Snapshot, labels map[string][]string) (string, error) {
	for _, l := range p.spec.Locations {
		canBe, must := reaches(l, labels)
		switch {
		case must:
			return l.Name, nil
		case canBe:
			return "", fmt.Errorf("%w: some can be at location %s", ErrScattered, l.Name)
		}
	}
	return p.placeOfRegions(snapshot, labels[corev1.LabelTopologyRegion])
}

// reaches reports whether some nodes with such labels can be at a location, as far as is known of all
// labels that the location selects by, and whether all nodes must be there.
func reaches(l v1alpha1.Location, labels map[string][]string) (canBe, must bool) {
	canBe, must = len(l.NodeSelector) > 0, len(l.NodeSelector) > 0
	for key, value := range l.NodeSelector {
		canBe = canBe && slices.Contains(labels[key], value)
		must = must && len(labels[key]) == 1
	}
	return canBe, canBe && must
}

// placeOfRegions returns the location that all of some cloud regions stand for. A policy with one location
// has no other for any region.
func (p *Policy) placeOfRegions(snapshot *forecast.Snapshot, regions []string) (string, error) {
	found := ""
	for i, region := range regions {
		location, err := p.FindLocation(snapshot, region)
		switch {
		case err != nil && len(p.spec.Locations) < 2:
			location = ""
		case err != nil:
			return "", fmt.Errorf("%w: no location is in region %.80q", ErrScattered, region)
		}
		if i > 0 && location != found {
			return "", fmt.Errorf("%w: they can be at %s and at %s", ErrScattered, found, location)
		}
		found = location
	}
	return found, nil
}
