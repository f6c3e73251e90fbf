// The clip: a video element where the browser plays the file, else frames on a canvas.

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Seconds that each frame stays, from the times at which they begin.
function durations(seconds) {
  const gaps = seconds.slice(1).map((time, i) => time - seconds[i]);
  const mean = gaps.length ? gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length : 1;
  return [...gaps, mean].map((gap) => Math.min(2, Math.max(0.04, gap)));
}

export class Player {
  constructor() {
    this.clip = 0;
    this.images = [];
    this.playing = false;
    $("play").addEventListener("click", () => this.toggle());
    $("sound").addEventListener("click", () => this.mute());
    $("scrub").addEventListener("input", () => this.seek(Number($("scrub").value)));
    const video = $("video");
    video.addEventListener("timeupdate", () => this.tell());
    video.addEventListener("play", () => this.tell());
    video.addEventListener("pause", () => this.tell());
    video.addEventListener("loadedmetadata", () => {
      $("scrub").max = String(video.duration || 0);
      $("scrub").step = "0.01";
      this.tell();
    });
    video.addEventListener("error", () => {
      // A codec that this browser does not know: frames will do.
      if (this.kind === "video") this.show(this.task, true);
    });
  }

  // Shows the clip of a task, or nothing.
  async show(task, frames = false) {
    const clip = ++this.clip;
    this.stop();
    this.task = task;
    if (!task) return;
    let found;
    try {
      const response = await fetch(`/api/clip/${encodeURIComponent(task)}?frames=${frames}`);
      found = await response.json();
      if (!response.ok) throw new Error(found.error);
      if (found.kind === "frames") found.images = await load(found);
    } catch (error) {
      found = { kind: "none", problem: `the clip does not come: ${error.message}` };
    }
    if (clip !== this.clip) return; // Another task is shown by now.
    this.kind = found.kind;
    $("video").hidden = found.kind !== "video";
    $("frames").hidden = found.kind !== "frames";
    $("no-clip").hidden = found.kind !== "none";
    $("sound").hidden = found.kind !== "video";
    if (found.kind === "video") this.playFile(found);
    if (found.kind === "frames") this.playFrames(found);
    if (found.kind === "none") $("no-clip").textContent = `No clip: ${found.problem}`;
    $("player").dataset.kind = found.kind;
  }

  stop() {
    this.playing = false;
    cancelAnimationFrame(this.timer);
    const video = $("video");
    this.kind = undefined;
    delete $("player").dataset.kind;
    if (video.getAttribute("src")) {
      video.removeAttribute("src");
      video.load();
    }
    this.images = [];
  }

  playFile(found) {
    const video = $("video");
    video.src = found.file;
    if (!calm.matches) video.play().catch(() => {});
  }

  playFrames(found) {
    const canvas = $("frames");
    canvas.width = found.width;
    canvas.height = found.height;
    canvas.classList.toggle("small", found.width <= 160);
    this.images = found.images;
    this.seconds = found.seconds;
    this.durations = durations(found.seconds);
    $("scrub").max = String(found.images.length - 1);
    $("scrub").step = "1";
    this.draw(0);
    this.playing = !calm.matches && found.images.length > 1;
    this.run();
  }

  draw(index) {
    this.index = index;
    this.since = performance.now();
    const canvas = $("frames");
    canvas.getContext("2d").drawImage(this.images[index], 0, 0, canvas.width, canvas.height);
    canvas.dataset.frame = String(index);
    this.tell();
  }

  run() {
    cancelAnimationFrame(this.timer);
    this.tell();
    if (!this.playing) return;
    const tick = () => {
      if (performance.now() - this.since >= this.durations[this.index] * 1000) {
        this.draw((this.index + 1) % this.images.length);
      }
      this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
  }

  toggle() {
    const video = $("video");
    if (this.kind === "video") video.paused ? video.play().catch(() => {}) : video.pause();
    if (this.kind === "frames") {
      this.playing = !this.playing;
      this.run();
    }
  }

  mute() {
    $("video").muted = !$("video").muted;
    $("sound").textContent = $("video").muted ? "🔇" : "🔊";
  }

  // To a frame, or to a time in a video.
  seek(to) {
    if (this.kind === "video") $("video").currentTime = to;
    if (this.kind === "frames") {
      this.playing = false;
      this.draw(to);
      this.run();
    }
  }

  step(by) {
    const video = $("video");
    if (this.kind === "video") video.currentTime = Math.max(0, video.currentTime + by * 0.5);
    if (this.kind === "frames") {
      this.seek((this.index + by + this.images.length) % this.images.length);
    }
  }

  // Brings button, slider and clock up to date.
  tell() {
    const video = $("video");
    const file = this.kind === "video";
    const at = file ? video.currentTime : this.seconds?.[this.index] ?? 0;
    const playing = file ? !video.paused : this.playing;
    $("play").textContent = playing ? "❚❚" : "▶";
    $("play").dataset.playing = String(playing);
    $("scrub").value = String(file ? at : this.index ?? 0);
    $("clock").textContent = `${at.toFixed(1)} s`;
  }
}

async function load(found) {
  const image = async (_, index) => {
    const image = new Image();
    image.src = found.folder + index;
    await image.decode();
    return image;
  };
  return Promise.all(found.seconds.map(image));
}
