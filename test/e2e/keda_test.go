package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// TestCeilings tells its stories on one cluster with KEDA, each in a namespace
// of its own: they wait most of the time.
func TestCeilings(t *testing.T) {
	c, g := kedaCluster(t)
	forecast := &grid{cluster: c}
	for name, story := range map[string]func(*testing.T, *site){
		"KEDA's autoscaler follows the grid":               followsTheGrid,
		"one object has ceilings of its own":               hasCeilingsOfItsOwn,
		"a ceiling of 0 pauses, and no more than that":     pausesAndResumes,
		"a pause of somebody else's is theirs":             leavesAnOwnersPause,
		"the owner pauses otherwise":                       repauses,
		"the owner closes a direction":                     closesADirection,
		"the owner says that it is not paused":             saysNotPaused,
		"the owner applies what the ceiling is":            appliesWhatTheCeilingIs,
		"what is given back is not owned":                  ownsNothingOfWhatIsGivenBack,
		"a ceiling is lowered in steps":                    lowersInSteps,
		"never below minReplicaCount":                      keepsToTheMinimum,
		"the owner sets another maxReplicaCount":           takesTheOwnersWord,
		"Jobs of a gradual ScaledJob go on":                letsJobsGoOn,
		"Jobs that a change would kill are waited for":     waitsForJobs,
		"whoever reverts is not fought":                    backsOff,
		"KEDA's webhook refuses a change":                  outlastsARefusal,
		"objects are deleted while they are changed":       outlastsDeletions,
		"the last good forecast holds":                     holdsTheLastGood,
		"a CarbonAwareKedaScaler works as it always has":   worksAsTheOriginal,
		"a CarbonAwareKedaScaler comes and goes":           restoresOnDelete,
		"two claims on one target are refused":             refusesASecondClaim,
		"a target in another namespace is refused":         refusesOtherNamespaces,
		"unless the platform owner allows it":              allowsThePlatform,
		"a schedule that cannot be read harms nobody":      outlastsABadSchedule,
		"a CarbonAwareKedaScaler without a spec is idle":   idlesWithoutASpec,
		"ceilings that cannot be read are told of":         tellsOfBadCeilings,
		"a policy that does not exist is told of":          tellsOfAMissingPolicy,
		"a forecast that wobbles around a bound is damped": dampsWobbling,
		"forecasts that scalers name are bounded":          boundsForecasts,
		"a slot begins": turnsAtABoundary,
		"a ceiling is not lowered twice in a moment": waitsToLowerAgain,
		"what is not known is not clean":             keepsToWhatWasKnown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, newSite(t, c, g, forecast))
		})
	}
}

func followsTheGrid(t *testing.T, s *site) {
	s.policy(t, 200, 20, 350, 5, 1000, 1)
	s.intensity(t, 100)
	o := s.scaledObject(t, "web", 3, 50, nil)
	before := o.DeepCopy()
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, s.name))
	awaitCeiling(t, s.cluster, o, 20)
	s.intensity(t, 300)
	awaitCeiling(t, s.cluster, o, 5)
	s.intensity(t, 100)
	awaitCeiling(t, s.cluster, o, 20)
	awaitMax(t, s.cluster, o, 20)
	if diff := cmp.Diff(specBut(before), specBut(o)); diff != "" {
		t.Errorf("more than maxReplicaCount has changed: %s", diff)
	}
	if got := o.GetAnnotations()[v1alpha1.OriginalMaxReplicaCountAnnotation]; got != "50" {
		t.Errorf("remembered %q, want 50", got)
	}
	if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "100") || !strings.Contains(reason, "<=200") {
		t.Errorf("reason %q, want the intensity and the bucket in it", reason)
	}
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, ""))
	awaitCeiling(t, s.cluster, o, 50)
	awaitUntouched(t, s.cluster, o)
}

func hasCeilingsOfItsOwn(t *testing.T, s *site) {
	s.policy(t, 200, 20, 350, 5, 1000, 1)
	s.intensity(t, 300)
	o := s.scaledObject(t, "web", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: s.name, v1alpha1.CeilingsAnnotation: "200=40,350=7,*=2"})
	awaitCeiling(t, s.cluster, o, 7)
	s.intensity(t, 3000)
	awaitCeiling(t, s.cluster, o, 2)
	amend(t, s.cluster, o, annotate(v1alpha1.CeilingsAnnotation, ""))
	s.intensity(t, 300)
	awaitCeiling(t, s.cluster, o, 5)
}

func pausesAndResumes(t *testing.T, s *site) {
	o := s.follower(t, 100, 10, 200, 10, 1000, 0)
	awaitReplicas(t, s, o, 1) // what KEDA starts with, before an autoscaler has its say
	s.intensity(t, 500)
	env.Eventually(t, patience, func(ctx context.Context) error {
		err := s.cluster.Client.Get(ctx, hpaKey(o), &autoscalingv2.HorizontalPodAutoscaler{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the autoscaler: %v, want none", err) //nolint:errorlint // often nil
		}
		return nil
	})
	awaitReplicas(t, s, o, 0)
	s.intensity(t, 100)
	awaitCeiling(t, s.cluster, o, 10)
	awaitReplicas(t, s, o, 1)
	awaitMax(t, s.cluster, o, 10)
	if value, ok := o.GetAnnotations()["autoscaling.keda.sh/paused-replicas"]; ok {
		t.Errorf("still paused: %q", value)
	}
}

func leavesAnOwnersPause(t *testing.T, s *site) {
	const key = "autoscaling.keda.sh/paused-replicas"
	o := s.follower(t, 100, 10, 200, 10, 1000, 0)
	amend(t, s.cluster, o, annotate(key, "2"))
	awaitReplicas(t, s, o, 2)
	s.intensity(t, 500)
	awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.CeilingAnnotation, "0"))
	s.intensity(t, 100)
	awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.CeilingAnnotation, "10"))
	if got := o.GetAnnotations()[key]; got != "2" {
		t.Errorf("%s is %q, want the owner's 2", key, got)
	}
}

func keepsToTheMinimum(t *testing.T, s *site) {
	s.policy(t, 200, 10, 1000, 0)
	s.intensity(t, 500)
	o := env.ScaledObject(s.name, "web", 3, 50)
	if err := unstructured.SetNestedField(o.Object, int64(4), "spec", "minReplicaCount"); err != nil {
		t.Fatal(err)
	}
	o.SetAnnotations(map[string]string{v1alpha1.PolicyAnnotation: s.name})
	create(t, s.cluster, env.Deployment(s.name, "web"), o)
	awaitCeiling(t, s.cluster, o, 4)
}

func takesTheOwnersWord(t *testing.T, s *site) {
	o := s.follower(t, 100, 10, 200, 10, 1000, 2)
	amend(t, s.cluster, o, `{"spec":{"maxReplicaCount":6}}`)
	awaitObject(t, s.cluster, o, wantAnnotation(o, v1alpha1.OriginalMaxReplicaCountAnnotation, "6"))
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, ""))
	awaitMax(t, s.cluster, o, 6)
	awaitUntouched(t, s.cluster, o)
}

func dampsWobbling(t *testing.T, s *site) {
	o := s.follower(t, 190, 10, 200, 10, 1000, 2)
	s.intensity(t, 205)
	awaitCeiling(t, s.cluster, o, 2)
	generation := generationOf(t, s.cluster, o)
	for range 5 {
		s.intensity(t, 199)
		time.Sleep(300 * time.Millisecond)
		s.intensity(t, 201)
		time.Sleep(300 * time.Millisecond)
	}
	if n := generationOf(t, s.cluster, o) - generation; n > 0 {
		t.Errorf("the ceiling has changed %d times while the forecast wobbled by 0.5 %%", n)
	}
	s.intensity(t, 100)
	awaitCeiling(t, s.cluster, o, 10)
}

func turnsAtABoundary(t *testing.T, s *site) {
	o := s.follower(t, 300, 10, 400, 10, 1000, 2)
	boundary := time.Now().Truncate(time.Second).Add(5 * time.Second)
	elements := env.Elements(s.name, boundary.Add(-time.Hour), time.Hour, 300, 500)
	s.grid.write(t, s.name, elements...)
	awaitCeiling(t, s.cluster, o, 2)
	if early := time.Until(boundary); early > 0 {
		t.Errorf("%s before the slot begins", early)
	}
}

func waitsToLowerAgain(t *testing.T, s *site) {
	o := s.follower(t, 100, 10, 200, 10, 1000, 2)
	s.intensity(t, 500)
	awaitCeiling(t, s.cluster, o, 2)
	s.intensity(t, 100)
	awaitMax(t, s.cluster, o, 10)
	lowered, err := time.Parse(time.RFC3339, o.GetAnnotations()[v1alpha1.CeilingLoweredAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	s.intensity(t, 500)
	awaitMax(t, s.cluster, o, 2)
	if soonest := lowered.Add(lowerInterval); time.Now().Before(soonest) {
		t.Errorf("lowered again %s too soon", time.Until(soonest))
	}
}

func tellsOfBadCeilings(t *testing.T, s *site) {
	s.policy(t, 200, 20, 1000, 5)
	s.intensity(t, 100)
	o := s.scaledObject(t, "web", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: s.name, v1alpha1.CeilingsAnnotation: "200=many,*=1"})
	awaitObject(t, s.cluster, o, func() error {
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, v1alpha1.CeilingsAnnotation) || !strings.Contains(reason, "many") {
			return fmt.Errorf("reason %q, want one that names the annotation and the value", reason)
		}
		return nil
	})
	if got := maxReplicas(o); got != 50 {
		t.Errorf("maxReplicaCount is %d, want the owner's 50", got)
	}
}

func tellsOfAMissingPolicy(t *testing.T, s *site) {
	o := s.scaledObject(t, "web", 3, 50, map[string]string{v1alpha1.PolicyAnnotation: "absent-" + s.name})
	awaitObject(t, s.cluster, o, func() error {
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.Contains(reason, "absent-"+s.name) {
			return fmt.Errorf("reason %q, want one that names the policy", reason)
		}
		return nil
	})
}

// awaitReplicas waits until KEDA has scaled the Deployment of a ScaledObject.
func awaitReplicas(t *testing.T, s *site, o client.Object, want int32) {
	t.Helper()
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = o.GetNamespace(), o.GetName()
	awaitObject(t, s.cluster, d, func() error {
		if got := *d.Spec.Replicas; got != want {
			return fmt.Errorf("the Deployment has %d replicas, want %d", got, want)
		}
		return nil
	})
}
