/** Debian's packages: installed where this may be done, or unpacked into the cache, which takes no rights and starts no service. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { step } from './cache.mjs'
import { CommandError, run, which } from './command.mjs'
import { withLock } from './lock.mjs'
import { once } from './once.mjs'

const env = { DEBIAN_FRONTEND: 'noninteractive' }

/** Whether this is Debian, or what is made of it. */
const isDebian = () => existsSync('/etc/debian_version') && which('apt-get') !== undefined

/**
 * Installs packages, as root on Debian; does nothing elsewhere, and says so where apt-get could not. policy-rc.d is not touched: on a machine with
 * an init system a package also starts its own service, as it always does.
 * @param {readonly string[]} names
 */
export async function installFromDebian(...names) {
  if (process.getuid?.() !== 0 || !isDebian()) return
  await withLock('apt-get', async () => {
    try {
      step(`installing ${names.join(', ')} (apt-get)`)
      await run('apt-get', ['-qq', 'update'], { env })
      await run('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...names], { env, leave: true })
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      step('apt-get could not install it')
    }
  })
}

/**
 * Unpacks a package, without what it depends on, into the cache.
 * @param {string} name
 * @returns {Promise<string | undefined>} the folder that stands for `/`; undefined where this is not Debian, or apt-get does not find it
 */
export async function unpackFromDebian(name) {
  if (!isDebian() || which('dpkg-deb') === undefined) return undefined
  try {
    return await once(`${name}-of-debian`, `fetching ${name} (apt-get)`, async (scratch) => {
      const fetched = join(scratch, 'fetched')
      mkdirSync(fetched)
      const download = () => run('apt-get', ['-qq', 'download', name], { env, cwd: fetched })
      try {
        await download()
      } catch (error) {
        // A machine that was never updated knows no packages; root can mend that.
        if (!(error instanceof CommandError) || process.getuid?.() !== 0) throw error
        await withLock('apt-get', () => run('apt-get', ['-qq', 'update'], { env }))
        await download()
      }
      for (const file of readdirSync(fetched)) await run('dpkg-deb', ['--extract', join(fetched, file), scratch])
      rmSync(fetched, { recursive: true })
    })
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    step(`apt-get could not fetch ${name}`)
    return undefined
  }
}
