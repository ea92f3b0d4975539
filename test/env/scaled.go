package env

import (
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Deployment makes a Deployment for a ScaledObject to scale, of no pods at first.
func Deployment(namespace, name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	replicas := int32(0)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "work", Image: "work"}}},
			},
		},
	}
}

// ScaledObject makes a ScaledObject that wants so many pods of the Deployment of its name all day, and may have up to
// ceiling.
func ScaledObject(namespace, name string, want, ceiling int64) *unstructured.Unstructured {
	return scaled("ScaledObject", namespace, name, want, map[string]any{
		"scaleTargetRef": map[string]any{"name": name}, "minReplicaCount": int64(0), "maxReplicaCount": ceiling,
	})
}

// ScaledJob makes a ScaledJob that wants so many Jobs to run all day, each for an hour, and may have up to ceiling.
// Unless its rollout is gradual, KEDA deletes those that run whenever its spec is changed.
func ScaledJob(namespace, name string, want, ceiling int64, gradual bool) *unstructured.Unstructured {
	strategy := "immediate"
	if gradual {
		strategy = "gradual"
	}
	return scaled("ScaledJob", namespace, name, want, map[string]any{
		"maxReplicaCount": ceiling, "pollingInterval": int64(1), "rollout": map[string]any{"strategy": strategy},
		"jobTargetRef": map[string]any{"template": map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{"kwok.gridlatch.dev/run-for": "1h"}},
			"spec": map[string]any{
				"restartPolicy": "Never", "containers": []any{map[string]any{"name": "work", "image": "work"}},
			},
		}},
	})
}

// scaled adds a trigger that is active from two hours ago until in 21 hours.
func scaled(kind, namespace, name string, want int64, spec map[string]any) *unstructured.Unstructured {
	daily := func(t time.Time) string { return fmt.Sprintf("%d %d * * *", t.Minute(), t.Hour()) }
	now := time.Now().UTC()
	spec["triggers"] = []any{map[string]any{"type": "cron", "metadata": map[string]any{
		"timezone": "UTC", "start": daily(now.Add(-2 * time.Hour)), "end": daily(now.Add(-3 * time.Hour)),
		"desiredReplicas": strconv.FormatInt(want, 10),
	}}}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetAPIVersion("keda.sh/v1alpha1")
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// LoadTrigger makes a trigger that asks for as many replicas as a URL answers, as in {"load":4}.
func LoadTrigger(url string) map[string]any {
	return map[string]any{"type": "metrics-api", "metadata": map[string]any{
		"url": url, "valueLocation": "load", "targetValue": "1",
	}}
}
