// Package files keeps the folders that all instances of an environment share.
//
//	FILES/APP/ENVIRONMENT/NAME/             the files, and nothing else: what is mounted, backed up, served
//	FILES/APP/ENVIRONMENT/.NAME/            the platform's own, beside it
//	                       settings.json    owner, quota, public path
//	                       ledger           how much there is; its lock is held while a file gets its name
//	                       temporary/       files that are being written
//	                       uploads/ID/      uploads in parts (see package gateway)
//	                       uploaded/        objects that are to be enqueued, a file each
//
// There are two ways to the same files, at the same time: directly, through the
// mounted folder, and by way of the platform: the CLI and API, and S3. What is
// written by one is seen by the other at once. By way of the platform a file is
// there as a whole, synced to the disk, or not at all:
//
//	temporary ──▶ whole ──▶ synced ──▶ named      a kill before the last step leaves
//	                                              a temporary file, which is swept
//
// # Names
//
// The app may put links, pipes and devices into its folder, and change it while
// the platform walks it. The platform, which is root, goes by [os.Root]: no name
// and no link leads out of the folder.
//
// # Quotas
//
// A quota bounds the lengths of the files. Where the file system has project
// quotas (ext4 and XFS mounted with prjquota) the kernel enforces it, for
// direct writes too. Elsewhere:
//
//   - what goes by way of the platform is refused at once when it would go
//     beyond the quota, as far as the folder's size is known;
//   - what the app writes directly is known after the next walk, and cannot be
//     stopped; events tell of it at 80 and at 100 percent.
//
// A walk is made once a minute at most, and takes at most a twentieth of the
// time, at the lowest priority.
package files
