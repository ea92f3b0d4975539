package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ceiling"
	"github.com/gridlatch/gridlatch/test/env"
)

// scaler makes a CarbonAwareKedaScaler for a ScaledObject, by the ConfigMap
// forecast in the site's namespace.
func (s *site) scaler(name, target string) *carbonaware.CarbonAwareKedaScaler {
	return &carbonaware.CarbonAwareKedaScaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name},
		Spec: carbonaware.CarbonAwareKedaScalerSpec{
			KedaTarget:    carbonaware.TargetScaledObjects,
			KedaTargetRef: carbonaware.KedaTargetRef{Namespace: s.name, Name: target},
			MaxReplicasByCarbonIntensity: []carbonaware.CarbonIntensityConfig{ // in no order
				{CarbonIntensityThreshold: 504, MaxReplicas: 60},
				{CarbonIntensityThreshold: 437, MaxReplicas: 110},
				{CarbonIntensityThreshold: 571, MaxReplicas: 10},
			},
			EcoModeOff: carbonaware.EcoModeOff{MaxReplicas: 100},
			CarbonIntensityForecastDataSource: carbonaware.CarbonIntensityForecastDataSource{
				LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: s.name, Name: "forecast", Key: "data"},
			},
		},
	}
}

// localForecast writes the ConfigMap forecast in the site's namespace, and lets
// Gridlatch read it, as the README says.
func (s *site) localForecast(t *testing.T, intensity float64) {
	t.Helper()
	data, err := json.Marshal(env.Elements("anywhere", time.Now().Add(-time.Hour), 6*time.Hour, intensity))
	if err != nil {
		t.Fatal(err)
	}
	name := metav1.ObjectMeta{Namespace: s.name, Name: "forecast"}
	role := &rbacv1.Role{ObjectMeta: name, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"forecast"}, Verbs: []string{"get", "list", "watch"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "forecast"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: env.Namespace, Name: "gridlatch"}},
	}
	immutable := true
	configMap := &corev1.ConfigMap{ObjectMeta: name, Immutable: &immutable, BinaryData: map[string][]byte{"data": data}}
	for _, o := range []client.Object{role, binding} {
		if err := client.IgnoreAlreadyExists(s.cluster.Client.Create(t.Context(), o)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.IgnoreNotFound(s.cluster.Client.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: name})); err != nil {
		t.Fatal(err)
	}
	create(t, s.cluster, configMap)
}

// awaitScaler waits until a scaler's one condition is so.
func awaitScaler(t *testing.T, s *site, o *carbonaware.CarbonAwareKedaScaler, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	awaitObject(t, s.cluster, o, func() error {
		c := apimeta.FindStatusCondition(o.Status.Conditions, carbonaware.ConditionDegraded)
		if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message) {
			return fmt.Errorf("%s is %+v, want %s, %s: %s; status %+v", carbonaware.ConditionDegraded, c, status, reason, message, o.Status)
		}
		return nil
	})
}

func worksAsTheOriginal(t *testing.T, s *site) {
	s.localForecast(t, 490)
	o := s.scaledObject(t, "web", 3, 200, nil)
	scaler := s.scaler("web", "web")
	create(t, s.cluster, scaler)
	awaitCeiling(t, s.cluster, o, 60)
	awaitScaler(t, s, scaler, metav1.ConditionFalse, carbonaware.ReasonSucceeded, "operator successfully reconciling and eco mode is enabled")
	s.localForecast(t, 400)
	awaitCeiling(t, s.cluster, o, 110)
	awaitObject(t, s.cluster, scaler, func() error {
		if st := scaler.Status; st.Intensity == nil || *st.Intensity != 400 || st.Bucket != "<=437" || st.MaxReplicas == nil || *st.MaxReplicas != 110 {
			return fmt.Errorf("status %+v", st)
		}
		return nil
	})
	// a schedule turns it off, and that is no error
	amend(t, s.cluster, scaler, `{"spec":{"ecoModeOff":{"recurringSchedule":["* * * * *"]}}}`)
	awaitCeiling(t, s.cluster, o, 100)
	awaitScaler(t, s, scaler, metav1.ConditionTrue, carbonaware.ReasonEcoModeDisabled, "operator successfully reconciling but eco mode is disabled")
	for _, reason := range []string{"CarbonForecastSource", "MaxReplicaCountReconciled", "EcoModeDisabled"} {
		env.Eventually(t, patience, func(ctx context.Context) error {
			if n, err := events(ctx, s.cluster, scaler, reason); err != nil || n == 0 {
				return fmt.Errorf("%d Events %s, %w", n, reason, err)
			}
			return nil
		})
	}
	for metric, want := range map[string]float64{"default_max_replicas": 100, "max_replicas": 100, "carbon_intensity": 400} {
		got, err := s.controller.Metric(t.Context(), "carbon_aware_keda_scaler_"+metric, `app="web"`, s.name)
		if err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", metric, got, err, want)
		}
	}
	table, err := s.cluster.Kubectl(t.Context(), "get", "-n", s.name, "carbonawarekedascalers")
	if err != nil || !strings.Contains(table, "400") || !strings.Contains(table, "100") {
		t.Errorf("kubectl get shows %q, %v", table, err)
	}
}

func restoresOnDelete(t *testing.T, s *site) {
	s.localForecast(t, 490)
	o := s.scaledObject(t, "web", 3, 200, nil)
	scaler := s.scaler("web", "web")
	create(t, s.cluster, scaler)
	awaitCeiling(t, s.cluster, o, 60)
	if err := s.cluster.Client.Delete(t.Context(), scaler); err != nil {
		t.Fatal(err)
	}
	awaitCeiling(t, s.cluster, o, 200)
	awaitUntouched(t, s.cluster, o)
	awaitGone(t, s.cluster, scaler)
}

func refusesASecondClaim(t *testing.T, s *site) {
	s.localForecast(t, 490)
	o := s.scaledObject(t, "web", 3, 200, nil)
	first, second := s.scaler("first", "web"), s.scaler("second", "web")
	create(t, s.cluster, first)
	awaitCeiling(t, s.cluster, o, 60)
	second.Spec.EcoModeOff.RecurringSchedule = []string{"* * * * *"}
	create(t, s.cluster, second)
	awaitScaler(t, s, second, metav1.ConditionTrue, carbonaware.ReasonTargetClaimed, "first")
	s.policy(t, 200, 20, 1000, 5)
	s.intensity(t, 100)
	amend(t, s.cluster, o, annotate(v1alpha1.PolicyAnnotation, s.name))
	awaitWarning(t, s, o, ceiling.EventRefused, "first")
	generation := generationOf(t, s.cluster, o)
	s.localForecast(t, 480) // and everything is looked at anew
	time.Sleep(2 * time.Second)
	if n := generationOf(t, s.cluster, o) - generation; n > 0 || maxReplicas(o) != 60 {
		t.Errorf("changed %d times, to %d; want the first claim's 60", n, maxReplicas(o))
	}
}

func refusesOtherNamespaces(t *testing.T, s *site) {
	s.localForecast(t, 490)
	other := namespace(t, s.cluster)
	o := scaledObject(t, s.cluster, other, "web", 3, 200, nil)
	scaler := s.scaler("intruder", "web")
	scaler.Spec.KedaTargetRef.Namespace = other
	create(t, s.cluster, scaler)
	awaitScaler(t, s, scaler, metav1.ConditionTrue, carbonaware.ReasonTargetForbidden, other)
	stays(t, s.cluster, o, 2*time.Second, func() error {
		if maxReplicas(o) != 200 {
			return fmt.Errorf("maxReplicaCount is %d", maxReplicas(o))
		}
		return nil
	})
}

func allowsThePlatform(t *testing.T, s *site) {
	platform := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: platformNamespace}}
	create(t, s.cluster, platform)
	s.localForecast(t, 490)
	o := s.scaledObject(t, "web", 3, 200, nil)
	scaler := s.scaler("elsewhere", "web")
	scaler.Namespace = platform.Name
	create(t, s.cluster, scaler)
	awaitCeiling(t, s.cluster, o, 60)
}

func outlastsABadSchedule(t *testing.T, s *site) {
	s.localForecast(t, 490)
	s.scaledObject(t, "web", 3, 200, nil)
	scaler := s.scaler("web", "web")
	scaler.Spec.EcoModeOff.RecurringSchedule = []string{"every night", "* 22-24 * * *", "0 0 1 1 * 2020"}
	scaler.Spec.EcoModeOff.CustomSchedule = []carbonaware.Schedule{{StartTime: "tomorrow", EndTime: "2020-01-01T00:00:00Z"}}
	told := createWarned(t, s.cluster, scaler)
	if !strings.Contains(told, "every night") || !strings.Contains(told, "tomorrow") {
		t.Errorf("who creates it is warned of %q", told)
	}
	awaitObject(t, s.cluster, scaler, func() error {
		for _, part := range []string{"every night", "22-24", "tomorrow"} {
			if !slices.ContainsFunc(scaler.Status.Warnings, func(w string) bool { return strings.Contains(w, part) }) {
				return fmt.Errorf("no warning on %q: %q", part, scaler.Status.Warnings)
			}
		}
		return nil
	})
}

func idlesWithoutASpec(t *testing.T, s *site) {
	empty := `{"apiVersion":"carbonaware.kubernetes.azure.com/v1alpha1","kind":"CarbonAwareKedaScaler","metadata":{"name":"empty","namespace":"` + s.name + `"}}`
	if _, err := s.cluster.KubectlInput(t.Context(), empty, "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	scaler := &carbonaware.CarbonAwareKedaScaler{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "empty"}}
	awaitObject(t, s.cluster, scaler, func() error {
		if c := apimeta.FindStatusCondition(scaler.Status.Conditions, carbonaware.ConditionDegraded); c == nil || c.Status != metav1.ConditionTrue {
			return fmt.Errorf("condition %+v", c)
		}
		return nil
	})
}

// boundsForecasts has eleven scalers name a forecast each.
func boundsForecasts(t *testing.T, s *site) {
	s.scaledObject(t, "web", 3, 200, nil)
	var early []*carbonaware.CarbonAwareKedaScaler
	for i := range 10 {
		one := s.scaler(fmt.Sprint("early-", i), fmt.Sprint("elsewhere-", i))
		one.Spec.CarbonIntensityForecastDataSource.LocalConfigMap.Name = fmt.Sprint("forecast-", i)
		create(t, s.cluster, one)
		early = append(early, one)
	}
	s.localForecast(t, 490)
	late := s.scaler("late", "web")
	create(t, s.cluster, late)
	awaitScaler(t, s, late, metav1.ConditionTrue, carbonaware.ReasonCarbonDataFetchError, "name 10 other forecasts, and a namespace may name no more")
	if err := s.cluster.Client.Delete(t.Context(), early[0]); err != nil {
		t.Fatal(err)
	}
	awaitScaler(t, s, late, metav1.ConditionFalse, carbonaware.ReasonSucceeded, "eco mode is enabled")
}
