package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

func TestABadAnnotationIsRefusedWithItsFieldAndWhatIsAllowed(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	tests := map[string]struct{ key, value, want string }{
		"a deadline in words":          {v1alpha1.DeadlineAnnotation, "tomorrow", "want an instant (2026-11-22T06:00:00Z), a duration after creation"},
		"a deadline without its zone":  {v1alpha1.DeadlineAnnotation, "06:00", "a time of day with its zone (06:00 Europe/Berlin)"},
		"a zone that does not exist":   {v1alpha1.DeadlineAnnotation, "06:00 Europe/Springfield", `zone "Europe/Springfield" is not known`},
		"an hour that does not exist":  {v1alpha1.DeadlineAnnotation, "25:00 UTC", "want a time of day from 00:00 to 23:59"},
		"a duration without its unit":  {v1alpha1.DurationAnnotation, "2", "want a duration such as 90m, 8h, 1d12h or PT8H"},
		"a negative duration":          {v1alpha1.DurationAnnotation, "-2h", "want a duration such as"},
		"no duration":                  {v1alpha1.DurationAnnotation, "0s", "want more than zero and at most 366d"},
		"a threshold in words":         {v1alpha1.ThresholdAnnotation, "low", "want gCO2eq/kWh as a number from 0 to 1000000"},
		"a negative threshold":         {v1alpha1.ThresholdAnnotation, "-5", "want gCO2eq/kWh as a number"},
		"a policy that does not exist": {v1alpha1.PolicyAnnotation, "nightly", "want the name of a CarbonPolicy: default"},
		"a policy that cannot exist":   {v1alpha1.PolicyAnnotation, "No Such", "want the name of a CarbonPolicy: "},
		"an unknown location":          {v1alpha1.LocationAnnotation, "ATLANTIS", "want a location of policy default: CAISO_NORTH"},
		"an empty location":            {v1alpha1.LocationAnnotation, " ", "want the name of a location of the policy"},
		"neither true nor false":       {v1alpha1.DelayTolerantAnnotation, "yes", `want "true" or "false"`},
		"watts in words":               {v1alpha1.PowerWattsAnnotation, "much", "want watts as a number above 0 and up to 10000000, such as 250"},
		"no units at all":              {v1alpha1.FunctionalUnitsAnnotation, "0", "want functional units as a number above 0 and up to 1000000000000, such as 100"},
		"a value without an end":       {v1alpha1.DeadlineAnnotation, strings.Repeat("9", 5000), "may not be more than 256"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			annotations := tolerant(tt.key, tt.value)
			template := job("default", "bad", nil, 1)
			template.Spec.Template.Annotations = annotations
			for path, o := range map[string]client.Object{
				"metadata.annotations[" + tt.key + "]: ":               pod("default", "bad", annotations),
				"metadata.annotations[" + tt.key + "]:":                job("default", "bad", annotations, 1),
				"spec.template.metadata.annotations[" + tt.key + "]: ": template,
			} {
				if o == template && (tt.key == v1alpha1.PolicyAnnotation || tt.key == v1alpha1.LocationAnnotation) {
					path = "metadata.annotations[" + tt.key + "]: " // of the Job, for which the template speaks
				}
				err := cluster.Client.Create(t.Context(), o)
				if !apierrors.IsInvalid(err) {
					t.Fatalf("%T: got %v, want it refused as invalid", o, err)
				}
				if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%T: got %v\nwant %q and %q in it", o, err, path, tt.want)
				}
			}
		})
	}
}

// TestATypoInATemplateDoesNotStopTheWork has a Deployment, which is admitted
// without a look at its template, make pods that cannot be read.
func TestATypoInATemplateDoesNotStopTheWork(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	d := env.Deployment(ns, "typo")
	d.Spec.Replicas = ptr(int32(1))
	d.Spec.Template.Annotations = tolerant(v1alpha1.DeadlineAnnotation, "tomorrow")
	create(t, cluster, d)
	awaitScheduled(t, cluster, ns, 1, patience)
	pods, err := podsOf(t.Context(), cluster, ns)
	if err != nil {
		t.Fatal(err)
	}
	want := `not held: metadata.annotations[gridlatch.dev/deadline]: Invalid value: "tomorrow": want an instant`
	if why := pods[0].Annotations[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(why, want) {
		t.Errorf("reason %q, want %q", why, want)
	}
}

func TestAMisspeltAnnotationIsWarnedOf(t *testing.T) {
	told := createWarned(t, cluster, job(namespace(t, cluster), "misspelt", tolerant("gridlatch.dev/deadlin", "2h"), 1))
	if !strings.Contains(told, "metadata.annotations[gridlatch.dev/deadlin]: has no effect, because Gridlatch does not know this annotation") {
		t.Errorf("who creates it is warned of %q", told)
	}
}

func TestEveryBadAnnotationIsNamedAtOnce(t *testing.T) {
	err := cluster.Client.Create(t.Context(), pod("default", "bad", tolerant(v1alpha1.DeadlineAnnotation, "soon", v1alpha1.DurationAnnotation, "long", v1alpha1.ThresholdAnnotation, "low")))
	for _, key := range []string{v1alpha1.DeadlineAnnotation, v1alpha1.DurationAnnotation, v1alpha1.ThresholdAnnotation} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named: %v", key, err)
		}
	}
}

func TestSamplesAreAccepted(t *testing.T) {
	samples, err := filepath.Glob("../../manifests/samples/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples", err)
	}
	for _, sample := range samples {
		text, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.KubectlInput(t.Context(), string(text), "create", "--dry-run=server", "--validate=strict", "-f", "-"); err != nil {
			t.Errorf("%s: %v", sample, err)
		}
	}
}
