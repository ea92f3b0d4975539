package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// smallAPI serves Secrets and MutatingWebhookConfigurations by HTTP, as far as Keeper and Source
// use them. A fake client stores them.
type smallAPI struct{ client.WithWatch }

func newSmallAPI(objects ...client.Object) smallAPI {
	return smallAPI{fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects...).Build()}
}

// config starts the server, and returns how to reach it.
func (a smallAPI) config(t *testing.T) *rest.Config {
	t.Helper()
	mux := http.NewServeMux()
	secrets := kind{corev1.SchemeGroupVersion, func() client.Object { return &corev1.Secret{} }, func() client.ObjectList { return &corev1.SecretList{} }}
	webhooks := kind{
		admissionv1.SchemeGroupVersion, func() client.Object { return &admissionv1.MutatingWebhookConfiguration{} },
		func() client.ObjectList { return &admissionv1.MutatingWebhookConfigurationList{} },
	}
	for path, k := range map[string]kind{
		"/api/v1/namespaces/{namespace}/secrets":                              secrets,
		"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": webhooks,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { a.list(w, r, k) })
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			a.write(w, r, k, func(o client.Object, _ []byte) error { return a.Create(r.Context(), o) })
		})
		mux.HandleFunc("PUT "+path+"/{name}", func(w http.ResponseWriter, r *http.Request) {
			a.write(w, r, k, func(o client.Object, _ []byte) error { return a.Update(r.Context(), o) })
		})
		mux.HandleFunc("PATCH "+path+"/{name}", func(w http.ResponseWriter, r *http.Request) {
			a.write(w, r, k, func(o client.Object, body []byte) error {
				o.SetName(r.PathValue("name"))
				o.SetNamespace(r.PathValue("namespace"))
				return a.Patch(r.Context(), o, client.RawPatch(types.MergePatchType, body))
			})
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

type kind struct {
	version   schema.GroupVersion
	newObject func() client.Object
	newList   func() client.ObjectList
}

func (k kind) encode(o runtime.Object) []byte {
	return []byte(runtime.EncodeOrDie(scheme.Codecs.LegacyCodec(k.version), o))
}

func (a smallAPI) write(w http.ResponseWriter, r *http.Request, k kind, write func(o client.Object, body []byte) error) {
	body, err := io.ReadAll(r.Body)
	object := k.newObject()
	if err == nil {
		err = runtime.DecodeInto(scheme.Codecs.UniversalDeserializer(), body, object)
		if r.Method == http.MethodPatch {
			err = nil // a patch is no object
		}
	}
	if err == nil {
		err = write(object, body)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(k.encode(object))
}

func fail(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err).Status()
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		status = known.Status()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_, _ = w.Write([]byte(runtime.EncodeOrDie(scheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion), &status)))
}

// list lists or watches. Of all objects it returns those with the name of the field selector.
func (a smallAPI) list(w http.ResponseWriter, r *http.Request, k kind) {
	name, ok := strings.CutPrefix(r.FormValue("fieldSelector"), "metadata.name=")
	if !ok {
		fail(w, apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("only one name may be read")))
		return
	}
	if r.FormValue("sendInitialEvents") != "" {
		fail(w, apierrors.NewInvalid(schema.GroupKind{}, "", nil)) // the caller lists, then
		return
	}
	list := k.newList()
	events, err := a.Watch(r.Context(), k.newList())
	if err == nil {
		err = a.List(r.Context(), list, client.InNamespace(r.PathValue("namespace")))
	}
	if err != nil {
		fail(w, err)
		return
	}
	defer events.Stop()
	var found []runtime.Object
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		if accessor, _ := meta.Accessor(o); accessor.GetName() == name {
			found = append(found, o)
		}
		return nil
	})
	w.Header().Set("Content-Type", "application/json")
	if r.FormValue("watch") == "" {
		_ = meta.SetList(list, found)
		list.SetResourceVersion("1")
		_, _ = w.Write(k.encode(list))
		return
	}
	send := func(event watch.EventType, o runtime.Object) {
		_, _ = fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", event, bytes.TrimSpace(k.encode(o)))
		w.(http.Flusher).Flush()
	}
	for _, o := range found {
		send(watch.Added, o)
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-events.ResultChan():
			if accessor, err := meta.Accessor(event.Object); err == nil && accessor.GetName() == name {
				send(event.Type, event.Object)
			}
		}
	}
}

// run runs a part of the program in a manager of its own for as long as the test.
func run(t *testing.T, config *rest.Config, byObject map[client.Object]cache.ByObject, setUp func(ctrl.Manager) error) {
	t.Helper()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme.Scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Cache: cache.Options{ByObject: byObject, ReaderFailOnMissingInformer: true},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return testrestmapper.TestOnlyStaticRESTMapper(scheme.Scheme), nil
		},
		Controller: controllerOptions(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := setUp(mgr); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func controllerOptions() config.Controller {
	skip := true
	return config.Controller{SkipNameValidation: &skip}
}

// eventually tries for a generous time.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
