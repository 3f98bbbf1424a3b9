// Package build turns a source into an artifact: an OCI image whose last layer
// is the app, kept in an image layout and unpacked once.
//
//	folder ── Pack ──▶ tar ──▶ Unpack ──▶ source        (client │ server)
//	                                        │ copy
//	                                        ▼
//	         builds/APP.1/source ── command, within limits ──▶ built tree
//	                                        │ seal: owner, modes, times
//	                                        ▼
//	         builds/APP.1/{layer,config,manifest} + the sealed tree
//	                                        │ one sync, then under the lock:
//	                                        ▼
//	         artifacts/blobs → artifacts/index.json → roots/HEX
//
//	registry ── bring ──▶ the layers of the base, below the app's      (build.base)
//	artifact ── Push ───▶ a repository of the user's own               (build.push)
//
// Invariants, which hold at whatever instruction the process is killed:
//
//   - What index.json names is whole: blobs are synced and in place before it,
//     and removed only after they are out of it.
//   - A folder roots/HEX is whole: it is synced elsewhere and moved into place.
//     That it exists is its marker.
//   - Everything unfinished is in builds/, under a file lock which dies with
//     its process, so whoever comes next may remove it.
package build
