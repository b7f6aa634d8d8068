import { statSync } from 'node:fs'

/**
 * Whether a file with a private key or a secret is open to others. Symbolic links are followed, as in
 * Kubernetes secret volumes.
 *
 * Readable or writable by everybody is refused, and so is writable by the group. Readable by the group is
 * what Kubernetes makes of a secret volume under `fsGroup` (0440, 0640), and is a warning.
 * @returns undefined where only its owner may read it, or where there is no such file
 */
export function privateFileFault(path: string): { readonly severity: 'refuse' | 'warn'; readonly message: string } | undefined {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats?.isFile()) return undefined
  const mode = stats.mode & 0o777
  const shown = `0${mode.toString(8).padStart(3, '0')}`
  if ((mode & 0o007) !== 0) return { severity: 'refuse', message: `"${path}" is open to every user (mode ${shown}): expected 0600 or 0400` }
  if ((mode & 0o030) !== 0)
    return {
      severity: 'refuse',
      message: `"${path}" can be changed by its group (mode ${shown}): expected 0600, or 0440 where a group must read it`,
    }
  if ((mode & 0o040) !== 0)
    return {
      severity: 'warn',
      message: `"${path}" can be read by its group (mode ${shown}): write 0600 unless the group is this service's own`,
    }
  return undefined
}
