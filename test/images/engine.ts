import { type Docker, openDocker } from '../../deploy/local/docker.mjs'
import { removeLocalImages } from '../../deploy/local/images.mjs'

let opened: Promise<Docker> | undefined

/** One engine for all files of this group: that which answers, else one of our own. */
export const engine = (docker: string): Promise<Docker> => {
  opened ??= openDocker(docker)
  return opened
}

// Of the whole run: the files of this group share what was built.
after(async function () {
  this.timeout(60_000)
  await endEngine()
})

/** Where the engine is ours it goes, else our images do. */
async function endEngine(): Promise<void> {
  const docker = await opened?.catch(() => undefined)
  opened = undefined
  if (docker === undefined) return
  if (!docker.own) await removeLocalImages(docker)
  await docker.stop()
}
