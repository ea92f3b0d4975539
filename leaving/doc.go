// Package leaving makes Gridlatch leave nothing behind when somebody removes it, in any order.
//
// Held work needs Gridlatch, and Gridlatch needs its rights, to start. So while the leader runs in the
// cluster, it keeps the finalizer v1alpha1.ReleaseFinalizer on its anchors: the ServiceAccount, the
// Role, the ClusterRole and their bindings, and the ClusterRoles and bindings of the components. An
// anchor that somebody deletes then stays, and still gives its rights, until Gridlatch has removed the
// finalizer. The manifests have no finalizer. What never ran never delays a deletion.
//
// [Keeper] looks at the anchors, the Deployment and the namespace every few seconds in each replica,
// at the components more rarely, and once more when the process ends. Gridlatch leaves when one of them is being deleted or is gone,
// or when the Deployment has no replicas. A rolling update, a drained node and a crash are not a
// leave: held work stays held, with its plan. To leave is:
//   - Each replica stops holding work.
//   - One replica releases all held work and gives back all overrides. It does so again once all
//     replicas have stopped holding, and what they held last has been created.
//   - The same replica removes the finalizer from all anchors.
//
// If only the rights of a component are being deleted, Gridlatch holds no more work of its kinds, and
// releases what it holds.
//
// The last anchors give each other's removal its right. So the removals are sent together: the API
// server has authorized all of them before the first one takes effect ([patchTogether]).
//
// Some things have limits that are not ours. The API server accepts the token of a deleted ServiceAccount
// for a minute. So Gridlatch removes the finalizers after three quarters of that minute, although some
// work may be left: more than can be released in this time, or what the API server refuses to release. Kubernetes deletes the pods of a namespace first, and gives them the
// terminationGracePeriodSeconds of the Deployment. If no replica runs at all, the anchors stay in
// deletion until somebody releases the work and removes the finalizers (docs/operations.md).
package leaving
